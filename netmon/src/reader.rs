//! The thread that reads for scrapes. Of the threads that serve pages, only this one may enter namespaces.
//!
//! Readings run one after the other, because each asks the kernel for everything. Pages may be made from them in
//! parallel.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
};

use crate::{
    model::health::DockerHealth,
    privilege::{self, ThreadRole},
    scrape::{Scraped, Sources},
    workers::Shift,
};

/// Why there is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker `reader` has ended, and netmon exits; its log says why")]
pub struct ReadingFailed;

struct Request {
    docker: DockerHealth,
    answer: SyncSender<Scraped>,
}

/// The running thread. It ends after the current reading, once this is dropped.
#[derive(Debug)]
pub struct Reader {
    requests: Sender<Request>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(sources: Arc<Sources>, shift: Shift) -> io::Result<Self> {
        let (requests, inbox) = channel::<Request>();
        let turns = shift.clone();
        let work = move || {
            for Request { docker, answer } in inbox {
                let _turn = turns.turn();
                // Fails if nobody waits for it any more.
                let _told = answer.send(sources.scrape(&docker));
            }
        };
        privilege::spawn("reader", ThreadRole::Read, shift.watched(work))?;
        Ok(Self { requests })
    }

    /// Requests a scrape, and waits for it.
    ///
    /// # Errors
    /// The reading failed.
    pub fn scrape(&self, docker: DockerHealth) -> Result<Scraped, ReadingFailed> {
        let (answer, answered) = sync_channel(1);
        self.requests
            .send(Request { docker, answer })
            .map_err(|_| ReadingFailed)?;
        answered.recv().map_err(|_| ReadingFailed)
    }
}
