//! Updates of netmon itself that cannot load its programs: no kernel accepts them, or a capability is missing. Swarm
//! rolls back what worked before, and leaves in peace what never did.

use std::fs;

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fleet::{Fleet, PATIENCE, STACK, deploy, image},
    lab::{Engine, Lab},
    patience::within,
    scratch::Scratch,
    unloadable,
};

/// The image of such a build.
const REFUSED: &str = "netmon:refused";

#[test]
fn on_the_installed_engine_an_update_that_cannot_load_its_programs_is_rolled_back() -> anyhow::Result<()> {
    is_rolled_back(Engine::Installed)
}

#[test]
fn on_a_new_engine_an_update_that_cannot_load_its_programs_is_rolled_back() -> anyhow::Result<()> {
    is_rolled_back(Engine::New)
}

fn is_rolled_back(engine: Engine) -> anyhow::Result<()> {
    let lab = lab(engine)?;
    let fleet = Fleet::deploy(&lab)?;
    update(&lab, &[("NETMON_IMAGE", REFUSED)], "rollback_completed")?;
    // The second node was left in peace.
    let tasks = tasks(&lab)?;
    let mut tried: Vec<&str> = tasks.lines().filter(|line| line.contains(REFUSED)).collect();
    tried.sort_unstable();
    tried.dedup_by_key(|line| line.split('|').next().unwrap_or_default());
    ensure!(tried.len() == 1, "it was tried on several nodes:\n{tasks}");
    ensure!(tasks.contains("non-zero exit (3)"), "{tasks}");
    for number in lab.nodes() {
        fleet.page_until(number, "its programs to be there again", |page| {
            let success = page.value("netmon_scrape_collector_success", &[("collector", "traffic")])?;
            ensure!(success > 0.5, "collector traffic has success {success}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_update_that_takes_a_capability_away_is_rolled_back() -> anyhow::Result<()> {
    let lab = Lab::up(1, Engine::Installed)?;
    let fleet = Fleet::deploy(&lab)?;
    let update = format!("service update --detach --no-resolve-image --cap-drop CAP_SYS_ADMIN {STACK}_netmon");
    lab.node(1).docker(&update)?;
    ends(&lab, "rollback_completed")?;
    let tasks = tasks(&lab)?;
    ensure!(tasks.contains("non-zero exit (1)"), "{tasks}");
    fleet.page_until(1, "netmon to be back", |page| {
        page.one("netmon_process_capability_info", &[("capability", "CAP_SYS_ADMIN")])
            .map(drop)
    })
}

#[test]
fn where_programs_were_never_accepted_nothing_is_restarted_and_updates_go_on() -> anyhow::Result<()> {
    let lab = lab(Engine::Installed)?;
    let fleet = Fleet::deploy_files(&lab, &["stack.yml"], &[("NETMON_IMAGE", REFUSED)])?;
    let all = tasks(&lab)?;
    ensure!(all.lines().count() == 2, "a task was restarted:\n{all}");
    let variables = [("NETMON_IMAGE", REFUSED), ("NETMON_LOG_LEVEL", "debug")];
    update(&lab, &variables, "completed")?;
    let all = tasks(&lab)?;
    ensure!(all.lines().count() == 4, "a task was restarted:\n{all}");
    for number in lab.nodes() {
        let page = fleet.page(number)?;
        page.one("netmon_container_info", &[("service", "netmon_netmon")])?;
        let success = page.value("netmon_scrape_collector_success", &[("collector", "traffic")])?;
        ensure!(success < 0.5, "its programs were accepted");
    }
    Ok(())
}

/// Two nodes with both images.
fn lab(engine: Engine) -> anyhow::Result<Lab> {
    let lab = Lab::up(2, engine)?;
    let scratch = Scratch::new()?;
    let program = image()?.with_file_name("context").join("netmon");
    let folder = scratch.path().join("root");
    fs::create_dir(&folder)?;
    unloadable::write(&program, &folder.join("netmon"))?;
    lab.import(REFUSED, &folder, &["ENTRYPOINT [\"/netmon\"]"])?;
    Ok(lab)
}

/// Deploys the stack again with these variables, and waits for the end of the update.
fn update(lab: &Lab, variables: &[(&str, &str)], end: &str) -> anyhow::Result<()> {
    lab.deploy(STACK, &[deploy("stack.yml")], variables)?;
    ends(lab, end)
}

/// Waits for the end of an update.
fn ends(lab: &Lab, end: &str) -> anyhow::Result<()> {
    let updated = within(3 * PATIENCE, &format!("the update to be {end}"), || {
        let inspect = format!("service inspect -f {{{{.UpdateStatus.State}}}} {STACK}_netmon");
        let state = lab.node(1).docker(&inspect)?;
        ensure!(state == end, "it is {state}");
        Ok(())
    });
    updated.with_context(|| tasks(lab).unwrap_or_else(|error| format!("{error:#}")))
}

/// All tasks of netmon that Swarm remembers, one a line: the node, the image, the state and the error.
fn tasks(lab: &Lab) -> anyhow::Result<String> {
    // Without white space, at which the command is split into words.
    let format = "{{.Node}}|{{.Image}}|{{.CurrentState}}|{{.Error}}";
    lab.node(1)
        .docker(&format!("service ps --no-trunc --format {format} {STACK}_netmon"))
}
