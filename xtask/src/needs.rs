//! The one table of what has to be installed on a machine, what for, and the name of its Debian package. `setup`
//! installs by it, and `doctor` reports by it.

mod find;

use std::path::PathBuf;

use clap::ValueEnum;

pub(crate) use self::find::{
    CLIPPY_DRIVER, apparmor_parser, haproxy, ipvsadm, new_engine, nextest, node_exporter, prometheus,
};
use self::find::{clippy, compiler, file, library, linker, program};
use crate::sh;

/// What a person wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Build netmon.
    #[default]
    Build,
    /// Check the code.
    Lint,
    /// Run the tests that need no privileges.
    Quick,
    /// Run the demo.
    Demo,
    /// Run the tests.
    Test,
    /// Run the kernel tier on other kernels.
    Vm,
    /// Draw the dashboards.
    Preview,
    /// Measure what netmon costs.
    Bench,
    /// Make a release.
    Dist,
    /// Check whether the libraries may be used.
    Deny,
    /// Run the fuzz targets.
    Fuzz,
}

impl Purpose {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Lint => "lint",
            Self::Quick => "quick",
            Self::Demo => "demo",
            Self::Test => "test",
            Self::Vm => "vm",
            Self::Preview => "preview",
            Self::Bench => "bench",
            Self::Dist => "dist",
            Self::Deny => "deny",
            Self::Fuzz => "fuzz",
        }
    }

    /// Whether this purpose also needs everything that `other` needs.
    pub(crate) fn includes(self, other: Self) -> bool {
        match other {
            Self::Build => true,
            Self::Quick => matches!(self, Self::Quick | Self::Test | Self::Vm),
            Self::Demo => matches!(self, Self::Demo | Self::Test | Self::Vm | Self::Preview | Self::Bench),
            Self::Test => matches!(self, Self::Test | Self::Vm | Self::Bench),
            Self::Lint | Self::Vm | Self::Preview | Self::Bench | Self::Dist | Self::Deny | Self::Fuzz => self == other,
        }
    }
}

/// How to install what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Install these Debian packages.
    Packages(&'static [&'static str]),
    /// Unpack this Debian package into a folder of ours. Installed, its daemon would run on the machine.
    Unpacked(&'static str),
    /// Compile bpf-linker.
    Linker,
    /// Compile a program from its crate.
    Crate(&'static Crate),
    /// Unpack a newer Docker engine than Debian 12 has into a folder of ours.
    NewEngine,
}

/// A program that cargo compiles into the folder of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Further flags for `cargo install`.
    pub(crate) flags: &'static [&'static str],
}

impl Crate {
    /// The folder it is installed in. Each version has its own.
    pub(crate) fn root(&self) -> PathBuf {
        sh::tools().join(format!("{}-{}", self.name, self.version))
    }

    /// The path of the program.
    pub(crate) fn program(&self) -> PathBuf {
        self.root().join("bin").join(self.name)
    }
}

/// Checks the libraries.
pub(crate) const CARGO_DENY: Crate = Crate {
    name: "cargo-deny",
    version: "0.20.2",
    flags: &[],
};

/// Runs the tests.
pub(crate) const NEXTEST: Crate = Crate {
    name: "cargo-nextest",
    version: "0.9.143",
    // Without its self-update.
    flags: &["--no-default-features", "--features", "default-no-update"],
};

/// One thing that has to be installed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// What it is.
    pub(crate) what: &'static str,
    /// What it is needed for.
    pub(crate) purpose: Purpose,
    /// Looks for it: returns its place, or why it was not found.
    pub(crate) find: fn() -> Result<String, String>,
    /// How to install it.
    pub(crate) remedy: Remedy,
}

/// Everything, in the order of installation.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        what: "a C linker",
        purpose: Purpose::Build,
        find: || program("cc"),
        remedy: Remedy::Packages(&["gcc", "libc6-dev"]),
    },
    Need {
        what: "a Rust compiler with a core for BPF",
        purpose: Purpose::Build,
        find: compiler,
        remedy: Remedy::Packages(&["rustc-web", "libstd-rust-web-dev-bpf"]),
    },
    Need {
        what: "bpf-linker",
        purpose: Purpose::Build,
        find: linker,
        remedy: Remedy::Linker,
    },
    Need {
        what: "clippy for that compiler",
        purpose: Purpose::Lint,
        find: clippy,
        remedy: Remedy::Packages(&["rust-web-clippy"]),
    },
    Need {
        what: "cargo-nextest (runs the tests)",
        purpose: Purpose::Quick,
        find: || nextest().map(|path| path.display().to_string()),
        remedy: Remedy::Crate(&NEXTEST),
    },
    Need {
        what: "a C++ compiler (libFuzzer)",
        purpose: Purpose::Fuzz,
        find: || program("g++"),
        remedy: Remedy::Packages(&["g++"]),
    },
    Need {
        what: "ip (network namespaces)",
        purpose: Purpose::Demo,
        find: || program("ip"),
        remedy: Remedy::Packages(&["iproute2"]),
    },
    Need {
        what: "ping",
        purpose: Purpose::Demo,
        find: || program("ping"),
        remedy: Remedy::Packages(&["iputils-ping"]),
    },
    Need {
        what: "nft (loss on purpose)",
        purpose: Purpose::Demo,
        find: || program("nft"),
        remedy: Remedy::Packages(&["nftables"]),
    },
    Need {
        what: "sysctl (namespaces without chatter)",
        purpose: Purpose::Demo,
        find: || program("sysctl"),
        remedy: Remedy::Packages(&["procps"]),
    },
    Need {
        what: "ethtool (offloads on and off)",
        purpose: Purpose::Test,
        find: || program("ethtool"),
        remedy: Remedy::Packages(&["ethtool"]),
    },
    Need {
        what: "bpftool (what the kernel has loaded)",
        purpose: Purpose::Test,
        find: || program("bpftool"),
        remedy: Remedy::Packages(&["bpftool"]),
    },
    Need {
        what: "a Docker engine",
        purpose: Purpose::Test,
        find: || program("dockerd").and_then(|it| program("containerd").map(|_| it)),
        remedy: Remedy::Packages(&["docker.io", "iptables"]),
    },
    Need {
        what: "tini-static (a test node's first process)",
        purpose: Purpose::Test,
        find: || program("tini-static"),
        remedy: Remedy::Packages(&["tini"]),
    },
    Need {
        what: "busybox, static (the containers' image)",
        purpose: Purpose::Test,
        find: || program("busybox"),
        remedy: Remedy::Packages(&["busybox-static"]),
    },
    Need {
        what: "jq and pgrep (the lab's script)",
        purpose: Purpose::Test,
        find: || program("jq").and_then(|it| program("pgrep").map(|_| it)),
        remedy: Remedy::Packages(&["jq", "procps"]),
    },
    Need {
        what: "systemd and dpkg (a machine for the package)",
        purpose: Purpose::Test,
        find: || {
            program("dpkg-deb")?;
            program("md5sum")?;
            program("unshare")?;
            program("journalctl")
        },
        remedy: Remedy::Packages(&["systemd", "dpkg", "coreutils", "util-linux"]),
    },
    Need {
        what: "curl and man (read what a person would)",
        purpose: Purpose::Test,
        find: || program("curl").and_then(|it| program("man").map(|_| it)),
        remedy: Remedy::Packages(&["curl", "man-db"]),
    },
    Need {
        what: "Prometheus and promtool",
        purpose: Purpose::Test,
        find: || file(&prometheus().join("usr/bin/promtool")),
        remedy: Remedy::Unpacked("prometheus"),
    },
    Need {
        what: "HAProxy's libraries",
        purpose: Purpose::Test,
        find: || library("liblua5.3.so.0").and_then(|_| library("libopentracing-c-wrapper.so.0")),
        remedy: Remedy::Packages(&["liblua5.3-0", "libopentracing-c-wrapper0"]),
    },
    Need {
        what: "HAProxy (the proxy before the engine's socket)",
        purpose: Purpose::Test,
        find: || file(&haproxy()),
        remedy: Remedy::Unpacked("haproxy"),
    },
    Need {
        what: "Prometheus' node exporter (to compare with)",
        purpose: Purpose::Bench,
        find: || file(&node_exporter()),
        remedy: Remedy::Unpacked("prometheus-node-exporter"),
    },
    Need {
        what: "a newer Docker engine",
        purpose: Purpose::Test,
        find: || file(&new_engine().join("dockerd")),
        remedy: Remedy::NewEngine,
    },
    Need {
        what: "qemu (a machine with another kernel)",
        purpose: Purpose::Vm,
        find: || program("qemu-system-x86_64"),
        remedy: Remedy::Packages(&["qemu-system-x86"]),
    },
    Need {
        what: "apparmor_parser (that machine's profile)",
        purpose: Purpose::Vm,
        find: || file(&apparmor_parser()),
        remedy: Remedy::Unpacked("apparmor"),
    },
    Need {
        what: "ipvsadm's libraries",
        purpose: Purpose::Vm,
        find: || library("libnl-genl-3.so.200").and_then(|_| library("libpopt.so.0")),
        remedy: Remedy::Packages(&["libnl-genl-3-200", "libpopt0"]),
    },
    Need {
        what: "ipvsadm (that machine's load balancer)",
        purpose: Purpose::Vm,
        find: || file(&ipvsadm()),
        remedy: Remedy::Unpacked("ipvsadm"),
    },
    Need {
        what: "dpkg-deb (packs)",
        purpose: Purpose::Dist,
        find: || program("dpkg-deb"),
        remedy: Remedy::Packages(&["dpkg"]),
    },
    Need {
        what: "lintian (Debian's rules for packages)",
        purpose: Purpose::Dist,
        find: || program("lintian"),
        remedy: Remedy::Packages(&["lintian"]),
    },
    Need {
        what: "man (formats the manual page)",
        purpose: Purpose::Dist,
        find: || program("man"),
        remedy: Remedy::Packages(&["man-db"]),
    },
    Need {
        what: "cargo-deny",
        purpose: Purpose::Deny,
        find: || file(&CARGO_DENY.program()),
        remedy: Remedy::Crate(&CARGO_DENY),
    },
    Need {
        what: "Prometheus (of what the dashboards show)",
        purpose: Purpose::Preview,
        find: || file(&prometheus().join("usr/bin/prometheus")),
        remedy: Remedy::Unpacked("prometheus"),
    },
    Need {
        what: "Node.js and npm (Grafana's libraries)",
        purpose: Purpose::Preview,
        find: || program("node").and_then(|it| program("npm").map(|_| it)),
        remedy: Remedy::Packages(&["nodejs", "npm"]),
    },
    Need {
        what: "Chromium (draws the dashboards)",
        purpose: Purpose::Preview,
        find: || program("chromium"),
        remedy: Remedy::Packages(&["chromium"]),
    },
    Need {
        what: "pngquant (pictures that are fit to be committed)",
        purpose: Purpose::Preview,
        find: || program("pngquant"),
        remedy: Remedy::Packages(&["pngquant"]),
    },
    Need {
        what: "cpio, depmod, xz and strip (that machine's files)",
        purpose: Purpose::Vm,
        find: || {
            program("cpio")?;
            program("depmod")?;
            program("xz")?;
            program("zstd")?;
            program("strip")
        },
        remedy: Remedy::Packages(&["cpio", "kmod", "xz-utils", "zstd", "binutils", "util-linux"]),
    },
];
