//! Generates the dashboards and rules, or checks that they are up to date. `cargo xtask dashboards` runs this.
#![expect(clippy::print_stdout, reason = "says what it has written")]

use std::{env, path::Path};

use anyhow::bail;
use netmon_dashboards::files;

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for path in files::write(folder)? {
                println!("wrote dashboards/{}", path.display());
            }
            Ok(())
        }
        ["--check"] => files::check(folder),
        _ => bail!("only `--check` can be said here, not `{}`", words.join(" ")),
    }
}
