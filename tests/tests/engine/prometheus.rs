//! Debian's Prometheus reads the page.

use anyhow::ensure;
use netmon_tests::{
    lab::Engine,
    patience::until,
    prometheus::{Prometheus, check_metrics},
    scratch::Scratch,
};

use crate::ground::{Ground, ping};

#[test]
fn prometheus_has_nothing_to_say_about_the_page_and_knows_services_by_name() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::Installed)?;
    let node = ground.node();
    let labels = "--label com.docker.compose.service=api --label com.docker.compose.project=shop";
    node.start_container("asks", labels)?;
    node.start_container("answers", "")?;
    ping(node, "asks", node.address_of("answers", "bridge")?, 50)?;
    ground.agrees("asks", "bridge")?;

    check_metrics(&ground.netmon.get("/metrics")?.body)?;

    let scratch = Scratch::new()?;
    let prometheus = Prometheus::start_in(Some(node.netns()), scratch.path(), &[ground.netmon.address], &[])?;
    until("the target to be up", || {
        let up = prometheus.value("up{job=\"netmon\"}")?;
        ensure!(up > 0.0, "it is {up}");
        Ok(())
    })?;
    let wants = |query: String, wanted: u64| {
        let value = prometheus.value(&query)?;
        let is_it = (value - wanted as f64).abs() < 0.5;
        ensure!(is_it, "`{query}` is {value}, and the interface has {wanted}");
        Ok(())
    };
    // Repeated, because an ARP request after the scrape counts too.
    until("the queries to give the interface's own figures", || {
        let figures = ground.agrees("asks", "bridge")?;
        for family in ["netmon_container_network", "netmon_service_network"] {
            let sum = |what| format!("sum by (service) ({family}_{what}_total{{service=\"api\", network=\"bridge\"}})");
            wants(sum("receive_packets"), figures.receive_packets)?;
            wants(sum("receive_bytes"), figures.receive_bytes)?;
            wants(sum("transmit_packets"), figures.transmit_packets)?;
            wants(sum("transmit_bytes"), figures.transmit_bytes)?;
        }
        Ok(())
    })?;
    // The series can be joined by their labels: a container's image with its traffic.
    let query = "count(netmon_container_network_receive_packets_total{container=\"asks\"} * on (container, instance) \
                 group_left (image) netmon_container_info{image=\"lab/bb:1\"})";
    ensure!((prometheus.value(query)? - 1.0).abs() < 0.5, "`{query}` is not 1");
    Ok(())
}
