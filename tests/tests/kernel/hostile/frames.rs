//! Frames that no kernel would send, and very many ordinary packets.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use anyhow::ensure;
use netmon_tests::{
    frames::{self, mac, wrong},
    page::Page,
    traffic,
};

use super::{SHARE, Scene, entries, lost};
use crate::world::DEVICE;

/// How many frames of each kind are sent.
const EACH: u32 = 20;

#[test]
fn frames_of_any_shape_are_the_receivers_and_spoil_nobodys_figures() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let source = mac(&scene.hostile.mac(DEVICE)?)?;
    let bridge = mac(&scene.world.others[0].mac("br0")?)?;
    let target = mac(&scene.a.netns.mac(DEVICE)?)?;
    let of_b = |page: &Page| -> f64 {
        let drops = page.all("netmon_container_packet_drops_total", &[("container", "b")]);
        drops.iter().map(|it| it.value).sum()
    };
    let send = |destinations: &[[u8; 6]]| -> anyhow::Result<Page> {
        for destination in destinations {
            for frame in wrong(source, *destination)? {
                frames::send(&scene.hostile, DEVICE, &frame, EACH)?;
            }
        }
        scene.is_unharmed()
    };
    // After this the bridge knows every container's port, and floods no frame for one of them.
    traffic::ping(&scene.a.netns, scene.b.address, 20)?;
    let before = of_b(&scene.is_unharmed()?);
    let after = of_b(&send(&[target, bridge])?);
    ensure!(after <= before, "what was for others is b's: {} drops", after - before);
    // Every container may drop what is sent to all.
    let page = send(&[[0xff; 6], [0x33, 0x33, 0, 0, 0, 1]])?;
    ensure!(
        entries(&page, "DROPS")? < 3 * SHARE,
        "{} drops",
        entries(&page, "DROPS")?
    );
    ensure!(
        lost(&page, "DROPS")? == 0 && lost(&page, "TCP")? == 0,
        "something was lost"
    );
    Ok(())
}

#[test]
fn ten_thousand_flows_make_no_series() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    traffic::ping(&scene.a.netns, scene.b.address, 20)?;
    // The first flows give the page one series of each kind, before series are counted.
    let flows = |count: u32| {
        scene.hostile.within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            for number in 0..count {
                let [_, _, high, low] = number.to_be_bytes();
                let port = 10_000 + u16::try_from(number % 50_000)?;
                // The answers "refused" and "unreachable" appear as errors of the next call. They are ignored.
                drop(socket.send_to(&[0; 32], SocketAddr::from(([127, 1, high, low], port))));
                if number % 10 == 0 {
                    drop(TcpStream::connect(SocketAddr::from(([127, 2, high, low], port))));
                }
            }
            Ok(())
        })
    };
    flows(10)?;
    let series = scene.netmon.page()?.samples.len();
    let keys = (
        entries(&scene.netmon.page()?, "DROPS")?,
        entries(&scene.netmon.page()?, "TCP")?,
    );
    flows(10_000)?;
    let page = scene.is_unharmed()?;
    ensure!(
        page.samples.len() <= series + 40,
        "{} series, {series} before",
        page.samples.len()
    );
    let now = (entries(&page, "DROPS")?, entries(&page, "TCP")?);
    ensure!(
        now.0 <= keys.0 + 8 && now.1 <= keys.1 + 2,
        "{now:?} keys, {keys:?} before"
    );
    let refused = page.count(
        "netmon_container_tcp_connect_failures_total",
        &[("container", "hostile"), ("network", ""), ("reason", "refused")],
    )?;
    ensure!(refused == 1001, "{refused} connections were refused");
    Ok(())
}
