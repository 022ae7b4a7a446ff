//! What the containers do while they are watched: traffic, connections, and drops. Must not know who measures what.
//!
//! One thread visits the containers in turn, and does everything at both ends. A veth's packet is received where the
//! sender's system call ends (`__local_bh_enable_ip`), so the kernel's work for all of this is charged to that thread.
//! netmon is charged only for what timers do while it runs, as on any node.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use netmon_tests::patience::slowness;
use rustix::{
    net::sockopt::{Timeout, set_socket_timeout},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::world::{NETWORKS, World, address, gateway};

/// How long a turn through all containers takes, if nobody waits for it. With a thousand containers that is a visit
/// every ten milliseconds.
const TURN: Duration = Duration::from_secs(10);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The hub's server of connections, and its receiver of datagrams.
const TCP_PORT: u16 = 5201;
const UDP_PORT: u16 = 5202;
/// Ports at which nobody listens.
const CLOSED: u16 = 9;
/// What a visit sends.
const REQUEST: [u8; 200] = [0x5a; 200];
const ANSWER: [u8; 1000] = [0xa5; 1000];
const DATAGRAMS: usize = 4;

/// The thread. It ends when this is dropped.
pub(crate) struct Load {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
    outcome: Receiver<anyhow::Error>,
}

#[derive(Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the thread is asked to do, and has done.
#[derive(Default)]
struct State {
    /// Visits so far. There are none before everything is prepared.
    visits: usize,
    /// Visits up to this number are made without a pause.
    at_once: usize,
    is_still: bool,
    is_over: bool,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Load {
    /// Connects the containers, and begins to visit them.
    pub(crate) fn start(world: &World) -> anyhow::Result<Self> {
        let control = Arc::new(Control::default());
        let hub = world.hub().path().to_path_buf();
        let containers: Vec<_> = world.containers().iter().map(|it| it.path().to_path_buf()).collect();
        let (failed, outcome) = mpsc::channel();
        let shared = Arc::clone(&control);
        let thread = thread::spawn(move || {
            let done = Ground::new(hub, &containers).and_then(|mut ground| ground.visit_all(&shared));
            if let Err(error) = done {
                // Nobody listens any more if the benchmark is over.
                drop(failed.send(error));
                shared.set(|state| state.is_over = true);
            }
        });
        let load = Self {
            control,
            thread: Some(thread),
            outcome,
        };
        load.turn(world.containers().len())?;
        Ok(load)
    }

    /// Visits all of that many containers at once, and waits for it.
    pub(crate) fn turn(&self, containers: usize) -> anyhow::Result<()> {
        let mut state = self.control.lock();
        let wanted = state.visits + containers;
        state.at_once = wanted;
        self.control.changed.notify_all();
        while state.visits < wanted && !state.is_over {
            state = self.control.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        match self.outcome.try_recv() {
            Ok(error) => Err(error.context("the containers' traffic has failed")),
            Err(_) => Ok(()),
        }
    }

    /// No visits, or visits again. One that is under way may still end.
    pub(crate) fn be_still(&self, is_still: bool) {
        self.control.set(|state| state.is_still = is_still);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.control.set(|state| state.is_over = true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The sockets at both ends.
struct Ground {
    hub: File,
    listener: TcpListener,
    datagrams: UdpSocket,
    containers: Vec<Container>,
}

struct Container {
    netns: File,
    /// The server of every other container. The others are clients of the hub's.
    server: Option<TcpListener>,
    /// Both ends of a connection that stays.
    lasting: (TcpStream, TcpStream),
}

impl Ground {
    fn new(hub: PathBuf, containers: &[PathBuf]) -> anyhow::Result<Self> {
        let hub = File::open(hub)?;
        enter(&hub)?;
        // A socket stays in the namespace that it was made in.
        let datagrams = UdpSocket::bind(("0.0.0.0", UDP_PORT))?;
        datagrams.set_read_timeout(Some(PATIENCE * slowness()))?;
        let mut ground = Self {
            hub,
            listener: server()?,
            datagrams,
            containers: Vec::new(),
        };
        for (number, path) in containers.iter().enumerate() {
            let netns = File::open(path)?;
            enter(&netns)?;
            ground.containers.push(Container {
                netns,
                server: (number % 2 == 0).then(server).transpose()?,
                lasting: connect(gateway(0), &ground.listener)?,
            });
        }
        Ok(ground)
    }

    /// Visits one container after the other, until it is told to end.
    fn visit_all(&mut self, control: &Control) -> anyhow::Result<()> {
        let pause = TURN / u32::try_from(self.containers.len())?;
        for number in (0..self.containers.len()).cycle() {
            let mut state = control.lock();
            while state.is_still && !state.is_over {
                state = control.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.visits >= state.at_once && !state.is_over {
                // If somebody wants a turn meanwhile, this ends early.
                let waited = control.changed.wait_timeout(state, pause);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.is_over {
                break;
            }
            drop(state);
            self.visit(number).with_context(|| format!("container {number}"))?;
            let mut state = control.lock();
            state.visits += 1;
            if state.visits == state.at_once {
                control.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Requests and answers on a connection that stays and on one that ends; a connection that is refused; datagrams,
    /// and one that nobody takes.
    fn visit(&mut self, number: usize) -> anyhow::Result<()> {
        let Container { netns, server, lasting } = &mut self.containers[number];
        exchange(lasting)?;
        enter(&self.hub)?;
        let mut ends = if let Some(server) = server {
            connect(address(number, 1).context("too many containers")?, server)?
        } else {
            enter(netns)?;
            connect(gateway(1), &self.listener)?
        };
        exchange(&mut ends)?;
        // Who closes first keeps the connection for a minute. It is the client, as with most protocols.
        let (client, of_server) = ends;
        client.shutdown(Shutdown::Write)?;
        drop(of_server);
        drop(client);
        enter(netns)?;
        let refused = TcpStream::connect_timeout(&SocketAddr::new(gateway(0).into(), CLOSED), PATIENCE * slowness());
        ensure!(
            refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused),
            "nobody refused the connection"
        );
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        let mut buffer = [0; 2 * REQUEST.len()];
        for _ in 0..DATAGRAMS {
            socket.send_to(&REQUEST, (gateway(1), UDP_PORT))?;
            self.datagrams.recv(&mut buffer).context("a datagram did not arrive")?;
        }
        for network in 0..NETWORKS.len() {
            let address = address(number, network).context("a container without an address")?;
            self.datagrams.send_to(&REQUEST, (address, CLOSED))?;
        }
        Ok(())
    }
}

/// A server in the namespace that the thread is in.
fn server() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(("0.0.0.0", TCP_PORT))?;
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE * slowness()))?;
    Ok(listener)
}

/// A connection from the namespace that the thread is in, and the server's end of it.
fn connect(to: Ipv4Addr, server: &TcpListener) -> anyhow::Result<(TcpStream, TcpStream)> {
    let to = SocketAddr::new(to.into(), TCP_PORT);
    let client = TcpStream::connect_timeout(&to, PATIENCE * slowness()).with_context(|| format!("no way to {to}"))?;
    let (accepted, _) = server.accept().with_context(|| format!("{to} accepts no connection"))?;
    for end in [&client, &accepted] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(PATIENCE * slowness()))?;
    }
    Ok((client, accepted))
}

/// A request and its answer.
fn exchange((client, server): &mut (TcpStream, TcpStream)) -> anyhow::Result<()> {
    let (mut request, mut answer) = (REQUEST, ANSWER);
    client.write_all(&REQUEST)?;
    server.read_exact(&mut request).context("a request did not arrive")?;
    server.write_all(&ANSWER)?;
    client.read_exact(&mut answer).context("an answer did not arrive")
}

fn enter(netns: &File) -> anyhow::Result<()> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| anyhow!("a namespace cannot be entered: {error}"))
}
