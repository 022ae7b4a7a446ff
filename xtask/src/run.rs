//! `cargo xtask run`: runs netmon on this machine's engine, or on the demo.

use std::{io::Read as _, os::unix::net::UnixStream, process::Command, time::Duration};

use anyhow::Context as _;

use crate::{build, demo, needs::Purpose, setup, sh};

/// The usual path of the engine's socket.
const SOCKET: &str = "/var/run/docker.sock";
/// How long the engine may take to answer a ping.
const PATIENCE: Duration = Duration::from_secs(2);

/// Builds netmon, and runs it until it ends.
pub(crate) fn run(force_demo: bool, seconds: Option<u64>, flags: &[String]) -> anyhow::Result<()> {
    let engine = if force_demo {
        Err("a demo is wanted".to_owned())
    } else {
        engine()
    };
    setup::run(if engine.is_ok() { Purpose::Build } else { Purpose::Demo })?;
    let netmon = build::run(true)?;
    match engine {
        Ok(socket) => {
            sh::say(format!(
                "\nThe engine at {socket} answers. The page: http://localhost:10095/metrics\n"
            ));
            let status = Command::new(&netmon)
                .args(flags)
                .status()
                .with_context(|| format!("{} cannot be run", netmon.display()))?;
            anyhow::ensure!(status.success(), "netmon ended with {status}");
            Ok(())
        }
        Err(why) => {
            sh::say(format!("\nRunning on the demo topology: {why}."));
            demo::run(&netmon, seconds.map(Duration::from_secs), flags)
        }
    }
}

/// The address at which an engine answers on this machine, or why none does.
pub(crate) fn engine() -> Result<String, String> {
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        // netmon reads this variable too, and reports itself if nothing answers there.
        return Ok(host);
    }
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        std::io::Write::write_all(&mut stream, b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.contains(" 200 ") => Ok(SOCKET.to_owned()),
        Ok(_) => Err(format!("what listens at {SOCKET} is no Docker engine")),
        Err(error) => Err(format!("no Docker engine answers at {SOCKET} ({error})")),
    }
}
