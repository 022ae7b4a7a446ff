//! A fake Docker engine, whose answers a test chooses. For the kernel tier, which needs names but no containers, and
//! for faults that a real engine cannot be made to have.
//!
//! It implements just enough of HTTP and of the engine's API for netmon: one connection a request, and events.

mod objects;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use self::objects::id_of;
pub use self::objects::{
    BRIDGE, Container, Elsewhere, Endpoint, NODES, Network, compose_labels, network_id, task_labels,
};

#[derive(Debug, Default)]
struct State {
    containers: Vec<Container>,
    networks: Vec<Network>,
    elsewhere: Vec<Elsewhere>,
    listeners: Vec<UnixStream>,
    /// Ids of containers whose description [`FakeEngine::hold`] withholds.
    held: BTreeSet<String>,
    /// Containers that ended while their description was withheld.
    forgotten: Vec<Container>,
    /// Ids of containers whose description was sent.
    described: BTreeSet<String>,
    /// Ids of containers whose description was requested by id, sent or not.
    requested: BTreeSet<String>,
    /// The paths of all requests, without their queries.
    paths: Vec<String>,
    /// The exit status of the last container that ended.
    ended: Option<i64>,
    /// Bodies that replace the correct ones, by path.
    rubbish: BTreeMap<String, Vec<u8>>,
}

/// The id of the last container that ended.
const ENDED: &str = "e0ded";

/// A fake engine that listens on a socket.
#[derive(Debug)]
pub struct FakeEngine {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
}

impl FakeEngine {
    /// Listens on a socket in that folder.
    ///
    /// # Errors
    /// The socket cannot be created.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let socket = folder.join("docker.sock");
        let listener = UnixListener::bind(&socket).with_context(|| format!("{}", socket.display()))?;
        let state = Arc::new(Mutex::new(State::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let (its_state, its_ends) = (Arc::clone(&state), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if its_ends.load(Ordering::Relaxed) {
                    break;
                }
                let state = Arc::clone(&its_state);
                // A client that closes the connection early is not a fault.
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Ok(Self { socket, state, ends })
    }

    /// Its address, as a flag of netmon.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--docker.host=unix://{}", self.socket.display())
    }

    /// Adds a network.
    pub fn network(&self, network: Network) {
        self.state().networks.push(network);
    }

    /// Adds a task on another node, which the network's gossip has.
    pub fn elsewhere(&self, task: Elsewhere) {
        self.state().elsewhere.push(task);
    }

    /// Starts a container.
    pub fn start_container(&self, container: Container) {
        let id = container.id();
        let mut state = self.state();
        state.containers.push(container);
        event(&mut state, "container", "start", &id, &json!({}));
    }

    /// Connects a container to another network.
    pub fn connect(&self, name: &str, endpoint: Endpoint) {
        let mut state = self.state();
        let network = network_id(&endpoint.network);
        let Some(container) = state.containers.iter_mut().find(|it| it.name == name) else {
            return;
        };
        container.endpoints.push(endpoint);
        let id = container.id();
        event(&mut state, "network", "connect", &network, &json!({ "container": id }));
    }

    /// Ends a container and removes it.
    pub fn end_container(&self, name: &str) {
        let mut state = self.state();
        let Some(at) = state.containers.iter().position(|it| it.name == name) else {
            return;
        };
        let container = state.containers.remove(at);
        let id = container.id();
        if state.held.contains(&id) {
            state.forgotten.push(container);
        }
        event(&mut state, "container", "die", &id, &json!({}));
        event(&mut state, "container", "destroy", &id, &json!({}));
    }

    /// From now on lists a container that ended with this exit status, whatever service is asked for; or none.
    pub fn ended(&self, status: Option<i64>) {
        self.state().ended = status;
    }

    /// Withholds the description of a container, as a busy engine does. If the container ends before
    /// [`FakeEngine::release`], its namespace and addresses are forgotten by then.
    pub fn hold(&self, name: &str) {
        self.state().held.insert(id_of(name));
    }

    /// Whether the container's description was requested by id, and sent.
    #[must_use]
    pub fn was_asked_for(&self, name: &str) -> bool {
        self.state().described.contains(&id_of(name))
    }

    /// Whether the container's description was requested by id, sent or not.
    #[must_use]
    pub fn was_requested(&self, name: &str) -> bool {
        self.state().requested.contains(&id_of(name))
    }

    /// The paths of all requests so far, in their order, without their queries.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state().paths.clone()
    }

    /// Gives a container another sandbox, as a restart does, without any event.
    pub fn restart_secretly(&self, name: &str, sandbox: &Path) {
        let mut state = self.state();
        if let Some(container) = state.containers.iter_mut().find(|it| it.name == name) {
            sandbox.clone_into(&mut container.sandbox);
        }
    }

    /// Sends what was withheld.
    pub fn release(&self, name: &str) {
        self.state().held.remove(&id_of(name));
    }

    /// From now on answers every request for that path with this body.
    pub fn answer(&self, path: &str, body: &[u8]) {
        self.state().rubbish.insert(path.to_owned(), body.to_vec());
    }

    /// Answers correctly again.
    pub fn answer_rightly(&self) {
        self.state().rubbish.clear();
    }

    /// Sends a line to all clients that listen for events.
    pub fn send_line(&self, line: &str) {
        send(&mut self.state(), line);
    }

    /// Ends every stream of events, as an engine does that goes down.
    pub fn hang_up(&self) {
        self.state().listeners.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the listening thread, which then ends.
        drop(UnixStream::connect(&self.socket));
        drop(std::fs::remove_file(&self.socket));
        self.hang_up();
    }
}

fn event(state: &mut State, kind: &str, action: &str, id: &str, attributes: &Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = json!({
        "Type": kind, "Action": action, "Actor": { "ID": id, "Attributes": attributes },
        "time": now.as_secs(), "timeNano": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
    });
    send(state, &line.to_string());
}

fn send(state: &mut State, line: &str) {
    state
        .listeners
        .retain_mut(|stream| write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1).is_ok());
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: UnixStream, told_of_all: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split_whitespace().nth(1).unwrap_or("/");
    // The negotiated API version comes before the path.
    let path = match path.strip_prefix("/v").and_then(|it| it.split_once('/')) {
        Some((version, rest)) if version.starts_with(|it: char| it.is_ascii_digit()) => format!("/{rest}"),
        _ => path.to_owned(),
    };
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let mut state = lock(told_of_all);
    state.paths.push(path.to_owned());
    if let Some(rubbish) = state.rubbish.get(path) {
        return answer(&mut stream, 200, rubbish);
    }
    let body = match path {
        "/_ping" => return answer(&mut stream, 200, b"OK"),
        "/version" => json!({ "Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24" }),
        "/info" => json!({
            "Name": "demo", "ServerVersion": "28.0.0", "KernelVersion": "demo",
            "Swarm": { "NodeID": NODES[0].0, "ControlAvailable": true },
        }),
        "/networks" => state.networks.iter().map(Network::json).collect(),
        "/nodes" => NODES
            .iter()
            .map(|(id, hostname, address)| {
                json!({
                    "ID": id, "Description": { "Hostname": hostname }, "Status": { "State": "ready", "Addr": address },
                })
            })
            .collect(),
        path if path.starts_with("/networks/") => {
            let id = &path["/networks/".len()..];
            let tasks = state.elsewhere.iter().filter(|task| network_id(&task.network) == id);
            let services: serde_json::Map<_, _> = tasks.map(Elsewhere::service).collect();
            json!({ "Id": id, "Services": services })
        }
        "/containers/json" if query.contains("exited") => state
            .ended
            .iter()
            .map(|_| json!({ "Id": ENDED, "Created": 1_700_000_000 }))
            .collect(),
        "/containers/json" => state
            .containers
            .iter()
            .filter(|container| !query.contains("filters") || query.contains(&container.id()))
            .map(Container::listed)
            .collect(),
        path if path == format!("/containers/{ENDED}/json") => {
            json!({ "Id": ENDED, "State": { "Running": false, "ExitCode": state.ended } })
        }
        "/events" => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )?;
            if query.contains("until=") {
                return write!(stream, "0\r\n\r\n");
            }
            state.listeners.push(stream);
            return Ok(());
        }
        path => {
            let id = path.trim_start_matches("/containers/").trim_end_matches("/json");
            state.requested.insert(id.to_owned());
            while state.held.contains(id) {
                drop(state);
                thread::sleep(Duration::from_millis(10));
                state = lock(told_of_all);
            }
            let is_it = |container: &&Container| container.id() == id;
            let forgotten = || state.forgotten.iter().find(is_it).map(Container::forgotten);
            match state
                .containers
                .iter()
                .find(is_it)
                .map(Container::json)
                .or_else(forgotten)
            {
                Some(container) => {
                    state.described.insert(id.to_owned());
                    container
                }
                None => return answer(&mut stream, 404, br#"{"message":"No such container"}"#),
            }
        }
    };
    answer(&mut stream, 200, body.to_string().as_bytes())
}

fn answer(stream: &mut UnixStream, status: u16, body: &[u8]) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nApi-Version: 1.48\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
