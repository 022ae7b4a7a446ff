//! The AppArmor profile that Docker gives its containers. The engine has it as a template in its program.

use std::{fs, path::Path};

use anyhow::Context as _;

/// Where the template's profile begins and ends in the program (moby, `profiles/apparmor/template.go`). Before the
/// profile, and in it where braces stand alone on a line, are includes of files that the machine may have. None of
/// them takes a right away.
const BEGIN: &str = "profile {{.Name}} flags=";
const END: &str = "\n}\n";

/// The profile `docker-default`, in the format of `apparmor_parser`.
///
/// # Errors
/// The engine in that folder has no such template.
pub(super) fn profile(engine: &Path) -> anyhow::Result<String> {
    let file = engine.join("dockerd");
    let program = fs::read(&file).with_context(|| format!("{}", file.display()))?;
    render(&program).with_context(|| format!("{} has no AppArmor profile in it", file.display()))
}

fn render(program: &[u8]) -> Option<String> {
    let begin = find(program, BEGIN)?;
    let rest = program.get(begin..)?;
    let template = rest.get(..find(rest, END)? + END.len())?;
    let mut profile = "@{PROC}=/proc/\n".to_owned();
    for line in std::str::from_utf8(template).ok()?.lines() {
        let line = line
            .replace("{{.Name}}", "docker-default")
            .replace("{{.DaemonProfile}}", "unconfined");
        if !line.contains("{{") {
            profile.push_str(&line);
            profile.push('\n');
        }
    }
    Some(profile)
}

fn find(bytes: &[u8], what: &str) -> Option<usize> {
    bytes.windows(what.len()).position(|it| it == what.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn a_template_is_cut_out_of_the_program_and_filled_in() {
        let program = b"\x7fELF\xff{{range $value := .Imports}}\n{{$value}}\n{{end}}\n\n\
            profile {{.Name}} flags=(attach_disconnected) {\n{{range $value := .InnerImports}}\n  {{$value}}\n{{end}}\n\n  \
            file,\n  signal (receive) peer={{.DaemonProfile}},\n  deny mount,\n}\nmore of the program\n}\n";
        assert_eq!(
            render(program).as_deref(),
            Some(
                "@{PROC}=/proc/\nprofile docker-default flags=(attach_disconnected) {\n\n  file,\n  signal (receive) \
                 peer=unconfined,\n  deny mount,\n}\n"
            )
        );
        assert_eq!(render(b"profile {{.Name}} flags=( {\n"), None, "it does not end");
        assert_eq!(render(b"\x7fELF"), None);
    }
}
