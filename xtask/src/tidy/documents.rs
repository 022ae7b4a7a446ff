//! The rules of documents: a link has a target, a source file that is named is there, and a sentence has at most
//! thirty words. Knows Markdown by `pulldown-cmark`. Must not know what the documents say.

use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The maximum number of words in a sentence. A piece of code is one word.
const WORDS: usize = 30;

/// What the rules need of a document.
pub(super) struct Document {
    path: PathBuf,
    anchors: Vec<String>,
    links: Vec<String>,
    /// The paths of source files that it names.
    sources: Vec<PathBuf>,
    sentences: Vec<String>,
}

impl Document {
    pub(super) fn read(path: &Path, text: &str) -> Self {
        let mut document = Self {
            path: path.to_owned(),
            anchors: Vec::new(),
            links: Vec::new(),
            sources: Vec::new(),
            sentences: Vec::new(),
        };
        let mut block = String::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                // Code blocks contain no sentences.
                Event::Start(Tag::CodeBlock(_)) | Event::End(TagEnd::CodeBlock) => block.clear(),
                Event::Text(text) => block.push_str(&text),
                Event::Code(code) => {
                    document.sources.extend(source(&code));
                    block.push_str(&code.replace([' ', '.', '?', '!'], "_"));
                }
                Event::SoftBreak | Event::HardBreak => block.push(' '),
                Event::End(TagEnd::Heading(_)) => {
                    document.anchors.push(anchor(&block));
                    block.clear();
                }
                Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell) | Event::Start(Tag::List(_)) => {
                    document.sentences.extend(sentences(&block));
                    block.clear();
                }
                Event::Start(_)
                | Event::End(_)
                | Event::InlineMath(_)
                | Event::DisplayMath(_)
                | Event::Html(_)
                | Event::InlineHtml(_)
                | Event::FootnoteReference(_)
                | Event::Rule
                | Event::TaskListMarker(_) => {}
            }
        }
        document
    }

    /// Reports every breach. `all` are all documents, and `exists` says whether the project has a file.
    pub(super) fn breaches(&self, all: &[Self], exists: impl Fn(&Path) -> bool) -> Vec<String> {
        let name = self.path.display();
        let long = self.sentences.iter().filter_map(|sentence| {
            let words = sentence.split_whitespace().filter(|it| is_word(it)).count();
            (words > WORDS).then(|| format!("{name}: a sentence of {words} words (at most {WORDS}): {sentence}"))
        });
        let dead = self
            .links
            .iter()
            .filter(|link| !link.contains("://") && !self.leads_somewhere(link, all, &exists))
            .map(|link| format!("{name}: the link {link} leads nowhere"));
        // The daemon's files may be named without its folder.
        let is_there = |source: &Path| exists(source) || exists(&Path::new("netmon/src").join(source));
        let gone = self.sources.iter().filter(|source| !is_there(source));
        let gone = gone.map(|source| format!("{name}: there is no {}", source.display()));
        long.chain(dead).chain(gone).collect()
    }

    fn leads_somewhere(&self, link: &str, all: &[Self], exists: impl Fn(&Path) -> bool) -> bool {
        let (path, anchor) = link.split_once('#').map_or((link, None), |(path, it)| (path, Some(it)));
        let target = match path {
            "" => self.path.clone(),
            _ => join(self.path.parent().unwrap_or(Path::new("")), path),
        };
        let has = |anchor: &str| {
            all.iter()
                .any(|it| it.path == target && it.anchors.iter().any(|known| known == anchor))
        };
        exists(&target) && anchor.is_none_or(has)
    }
}

/// The path of a source file, if this piece of code is one. `<noun>` and `*` stand for any name.
fn source(code: &str) -> Option<PathBuf> {
    let path = Path::new(code);
    let is_source = path.extension().is_some_and(|it| it == "rs");
    (is_source && code.contains('/') && !code.contains(['<', '*', ' '])).then(|| path.to_owned())
}

/// Appends a relative path to a folder, and resolves `.` and `..`.
fn join(folder: &Path, path: &str) -> PathBuf {
    let mut joined = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                joined.pop();
            }
            Component::Normal(part) => joined.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    joined
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|it| match it {
            ' ' => Some('-'),
            '-' | '_' => Some(it),
            _ => it.is_alphanumeric().then_some(it),
        })
        .collect()
}

fn sentences(block: &str) -> impl Iterator<Item = String> {
    block
        .split_inclusive(['.', '?', '!'])
        .fold(Vec::<String>::new(), |mut all, part| {
            // A full stop inside a word or a number does not end a sentence.
            match all.last_mut() {
                Some(last) if !part.starts_with(char::is_whitespace) => last.push_str(part),
                _ => all.push(part.to_owned()),
            }
            all
        })
        .into_iter()
        .map(|it| it.trim().to_owned())
}

fn is_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Document;

    fn breaches(text: &str) -> Vec<String> {
        let document = Document::read(Path::new("docs/one.md"), text);
        let other = Document::read(Path::new("README.md"), "# A title, with `code`\n");
        let all = [document, other];
        all[0].breaches(&all, |path| all.iter().any(|it| it.path == path))
    }

    #[test]
    fn a_long_sentence_is_found_wherever_it_is() {
        let long = "word ".repeat(31);
        for text in [
            format!("{long}."),
            format!("Short. {long}\n\nShort."),
            format!("- {long}\n- short\n"),
            format!("- short\n\n  {long}\n"),
            format!("| head |\n|---|\n| {long} |\n"),
            format!("Short: {}\n{}.", "word ".repeat(15), "word ".repeat(15)),
        ] {
            assert_eq!(breaches(&text).len(), 1, "{text}");
        }
    }

    #[test]
    fn short_sentences_and_code_are_no_breach() {
        let thirty = "word ".repeat(30);
        for text in [
            format!("{thirty}. {thirty}? {thirty}! {thirty}"),
            format!("- {thirty}\n- {thirty}\n  - {thirty}\n- {thirty}"),
            format!("| head | head |\n|---|---|\n| {thirty} | {thirty} |\n"),
            format!("Say:\n\n```sh\n{thirty} {thirty}\n```\n\n{thirty}"),
            format!("`{thirty}` {}", "word ".repeat(29)),
            format!("# Head\n\n{thirty}"),
        ] {
            assert_eq!(breaches(&text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_link_leads_to_a_file_or_a_heading_of_one() {
        for link in [
            "one.md",
            "#head",
            "../README.md",
            "../README.md#a-title-with-code",
            "https://example.org/nothing",
        ] {
            assert_eq!(
                breaches(&format!("# Head\n\n[it]({link})")),
                Vec::<String>::new(),
                "{link}"
            );
        }
        for link in ["two.md", "#tail", "README.md", "../README.md#title"] {
            assert_eq!(breaches(&format!("# Head\n\n[it]({link})")).len(), 1, "{link}");
        }
    }

    #[test]
    fn a_source_file_that_is_named_is_there() {
        let breaches = |text: &str| {
            let files = ["netmon/src/observe/read.rs", "xtask/src/main.rs"];
            let document = Document::read(Path::new("docs/one.md"), text);
            document.breaches(&[], |path| files.iter().any(|it| Path::new(it) == path))
        };
        for named in [
            "`netmon/src/observe/read.rs`",
            "`observe/read.rs`",
            "`xtask/src/main.rs`",
            "`collectors/<noun>/families.rs`",
            "`build.rs`",
        ] {
            assert_eq!(breaches(named), Vec::<String>::new(), "{named}");
        }
        for named in ["`observe/sites.rs`", "`netmon/src/read.rs`", "`src/main.rs`"] {
            assert_eq!(breaches(named).len(), 1, "{named}");
        }
    }
}
