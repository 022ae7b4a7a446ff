//! Who knows a password gets a page, whatever those do who guess.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinSet,
};

use super::{Site, users};

/// So many requests for the page take a token each, and none comes back while a test runs.
fn limited_to(burst: u32) -> String {
    format!("rate_limit: {{interval: 1h, burst: {burst}}}\n")
}

#[tokio::test]
async fn who_is_known_is_not_turned_away_because_strangers_ask_too_often() {
    let site = Site::new(&(users(&[("alice", "one")]) + &limited_to(2)), |_| {}).await;
    let mut statuses = Vec::new();
    for password in ["one", "guess", "guess", "one", "one"] {
        statuses.push(site.status_for("alice", password).await);
    }
    assert_eq!(statuses, ["200", "401", "429", "200", "200"]);
}

#[tokio::test]
async fn a_password_that_was_right_stays_known_when_the_file_changes_and_the_user_does_not() {
    let alice = users(&[("alice", "one")]);
    let site = Site::new(&alice, |_| {}).await;
    assert_eq!(site.status_for("alice", "one").await, "200");
    // With the only token gone, no password is judged that is not known yet.
    site.rewrite(&(alice.clone() + &limited_to(1)));
    assert_eq!(site.status_for("alice", "guess").await, "401");
    assert_eq!(site.status_for("alice", "one").await, "200");
    // A hash that is new is that of another password, or may be.
    site.rewrite(&(users(&[("alice", "two")]) + &limited_to(3)));
    assert_eq!(site.status_for("alice", "one").await, "401");
    assert_eq!(site.status_for("alice", "two").await, "200");
    // Nor is a user who is gone.
    site.rewrite(&(users(&[("bob", "two")]) + &limited_to(3)));
    assert_eq!(site.status_for("alice", "two").await, "401");
    site.rewrite(&(alice + &limited_to(1)));
    assert_eq!(site.status_for("nobody", "").await, "401");
    assert_eq!(site.status_for("alice", "one").await, "429");
}

#[tokio::test]
async fn who_knows_the_password_does_not_wait_behind_all_guesses_of_another_address() {
    const GUESSES: usize = 20;
    let hash = bcrypt::hash("one", 6).expect("a hash");
    let site = Site::new(&format!("basic_auth_users: {{alice: {hash}}}\n"), |_| {}).await;
    let server = site.server.address;
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut guessers = JoinSet::new();
    let (first, mut is_first) = tokio::sync::mpsc::unbounded_channel();
    for guess in 0..GUESSES {
        let (done, first) = (Arc::clone(&done), first.clone());
        guessers.spawn(async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
            let mut stream = socket.connect(server).await.expect("a connection");
            let credentials = BASE64_STANDARD.encode(format!("alice:{guess}"));
            let request = format!(
                "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            done.lock().expect("nobody panicked").push(guess);
            let _told = first.send(());
        });
    }
    // One guess has been judged: the others wait.
    is_first.recv().await.expect("a guess");
    assert_eq!(site.status_for("alice", "one").await, "200");
    let before = done.lock().expect("nobody panicked").len();
    assert!(before < GUESSES / 2, "{before} of {GUESSES} guesses were judged first");
    guessers.abort_all();
}
