//! Settings (sysctls) of one namespace, from files that stay open: to open one takes longer than to read it.
//!
//! Owns how they are opened and read. Must not know what a setting means.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _, str};

/// Shows the settings of the namespace of the thread that opens a file in it.
const FOLDER: &str = "/proc/sys/";
/// No setting of numbers is longer.
const LONGEST: usize = 256;

/// The settings that were read so far. All must be of one namespace: the thread that reads has entered it.
///
/// An open setting does not keep its namespace, or the module that it is of (`proc_sys_open`, `grab_header` in
/// `fs/proc/proc_sysctl.c`).
#[derive(Debug, Default)]
pub struct Settings {
    files: HashMap<&'static str, File>,
}

impl Settings {
    /// A number of the setting with this name. `None` if this kernel does not have it.
    pub(super) fn number(&mut self, name: &'static str, index: usize) -> Option<u64> {
        if let Some(file) = self.files.get(name) {
            if let Some(text) = text(file, &mut [0; LONGEST]) {
                return nth(text, index);
            }
            // Its module was unloaded. It may have been loaded again.
            self.files.remove(name);
        }
        let file = open(name)?;
        let number = nth(text(&file, &mut [0; LONGEST])?, index);
        self.files.insert(name, file);
        number
    }
}

/// Whether the thread's namespace forwards IPv4 packets, and IPv6 packets. `None` if this kernel does not say so.
#[must_use]
pub fn forwards() -> [Option<bool>; 2] {
    ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].map(|name| Some(number(name, 0)? != 0))
}

/// How many connections the thread's namespace tracks, and how many it can. `None` if it tracks none.
#[must_use]
pub fn connections() -> Option<(u64, u64)> {
    let count = number("net.netfilter.nf_conntrack_count", 0)?;
    Some((count, number("net.netfilter.nf_conntrack_max", 0)?))
}

/// A number of a setting, from a file that is opened for it: of whatever namespace the thread is in.
pub(super) fn number(name: &str, index: usize) -> Option<u64> {
    nth(text(&open(name)?, &mut [0; LONGEST])?, index)
}

fn open(name: &str) -> Option<File> {
    File::open(format!("{FOLDER}{}", name.replace('.', "/"))).ok()
}

fn text<'b>(file: &File, buffer: &'b mut [u8; LONGEST]) -> Option<&'b str> {
    let length = file.read_at(buffer, 0).ok()?;
    str::from_utf8(&buffer[..length]).ok()
}

fn nth(text: &str, index: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Settings, number};

    /// A setting that every kernel has, and that everybody may read.
    const NAME: &str = "net.ipv4.tcp_rmem";

    #[test]
    fn a_setting_is_the_same_from_a_file_that_stays_open() {
        let mut settings = Settings::default();
        for index in 0..3 {
            let opened = number(NAME, index);
            assert!(opened.is_some(), "this kernel has {NAME}");
            assert_eq!(settings.number(NAME, index), opened);
        }
        assert_eq!(settings.files.len(), 1);
        assert_eq!(settings.number(NAME, 3), None);
    }

    #[test]
    fn a_setting_that_there_is_not_is_none_and_is_looked_for_again() {
        let mut settings = Settings::default();
        assert_eq!(settings.number("net.ipv4.nothing", 0), None);
        assert!(settings.files.is_empty());
        // A file that cannot be read any more, as that of a module that was unloaded.
        let folder = std::fs::File::open("/proc/sys").expect("the folder");
        settings.files.insert(NAME, folder);
        assert_eq!(settings.number(NAME, 0), number(NAME, 0));
        assert!(settings.number(NAME, 0).is_some());
    }
}
