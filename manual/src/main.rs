//! Writes the manual page and the completions into a folder. `cargo xtask dist` runs this.

use std::{env, fs, path::Path};

use anyhow::{Context as _, bail};
use netmon_manual::{completions, page};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [folder, date] = words.as_slice() else {
        bail!(
            "what is wanted is a folder and the day of the release, not `{}`",
            words.join(" ")
        );
    };
    let folder = Path::new(folder);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    };
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    write(page::FILE, page::text(date)?)?;
    for (shell, name) in completions::SHELLS {
        write(name, completions::text(shell))?;
    }
    Ok(())
}
