//! A programmable HTTP/1.1 proxy in front of a real server, for faults that server cannot be made to give.
//!
//! Every request passes through to the real peer unless a rule matches it. One request per connection
//! (`Connection: close`), so that a fault never leaks into the next request of a pooled client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request as the proxy received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What the client was answered; `None` while in flight, and when the connection was dropped.
    pub status: Option<u16>,
}

/// An answer on its way back to the client; `Rule::edit` may change all of it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a content type and a body.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Edit = Arc<dyn Fn(&mut Answer) + Send + Sync>;

#[derive(Clone)]
enum Action {
    /// Answer at once; the peer never sees the request.
    Reply(Answer),
    /// Forward after a pause.
    Delay(Duration),
    /// Close without an answer; the peer never sees the request.
    Drop,
    /// The peer does the work, its answer is lost.
    LoseAnswer,
    /// The peer does the work, its answer waits until the gate opens.
    Hold(Arc<Notify>),
    /// Send this share of the answer's body, then cut the connection; the headers promise all of it.
    Truncate(f64),
    /// Send the answer's body in pieces of so many bytes with a pause after each.
    Drip(usize, Duration),
    /// Change the peer's answer.
    Edit(Edit),
}

/// Which requests are disturbed, how often and how. The first rule that matches and is not used up decides.
pub struct Rule {
    method: Option<&'static str>,
    path: String,
    exact: bool,
    body: Option<&'static str>,
    skip: usize,
    times: usize,
    action: Action,
    matched: AtomicUsize,
}

/// Opens a held answer. Dropping it opens the gate too, so a failed test does not hang.
pub struct Gate(Arc<Notify>);

impl Gate {
    /// Lets the held answer through.
    pub fn open(&self) {
        self.0.notify_one();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The part of a rule that says which requests it is about; an action makes it a `Rule`.
pub struct On {
    method: Option<&'static str>,
    path: String,
    exact: bool,
    body: Option<&'static str>,
    skip: usize,
    times: usize,
}

/// Requests whose path and query contain `path`; `method` is `"*"` for any.
pub fn on(method: &'static str, path: &str) -> On {
    On {
        method: (method != "*").then_some(method),
        path: path.to_owned(),
        exact: false,
        body: None,
        skip: 0,
        times: usize::MAX,
    }
}

impl On {
    /// Path and query must be equal, not only contain.
    pub fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Only requests whose body holds this text.
    pub fn containing(mut self, text: &'static str) -> Self {
        self.body = Some(text);
        self
    }

    /// Only the first `n` matching requests.
    pub fn first(mut self, n: usize) -> Self {
        self.times = n;
        self
    }

    /// Only the `n`th matching request, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.skip = n - 1;
        self.times = 1;
        self
    }

    fn act(self, action: Action) -> Rule {
        let Self { method, path, exact, body, skip, times } = self;
        Rule { method, path, exact, body, skip, times, action, matched: AtomicUsize::new(0) }
    }

    /// Answers with a status and a plain-text body.
    pub fn status(self, status: u16) -> Rule {
        self.act(Action::Reply(Answer::new(status, "text/plain", format!("fault proxy: {status}"))))
    }

    /// Answers with this.
    pub fn reply(self, answer: Answer) -> Rule {
        self.act(Action::Reply(answer))
    }

    /// Forwards only after a pause: longer than the client's patience, it is a time-out.
    pub fn delay(self, pause: Duration) -> Rule {
        self.act(Action::Delay(pause))
    }

    /// Closes the connection without forwarding.
    pub fn drop_connection(self) -> Rule {
        self.act(Action::Drop)
    }

    /// Forwards, then closes the connection without the answer.
    pub fn lose_answer(self) -> Rule {
        self.act(Action::LoseAnswer)
    }

    /// Forwards, then keeps the answer back until the gate opens.
    pub fn hold(self) -> (Rule, Gate) {
        let notify = Arc::new(Notify::new());
        (self.act(Action::Hold(Arc::clone(&notify))), Gate(notify))
    }

    /// Cuts the connection after this share (0 to 1) of the answer's body.
    pub fn truncate(self, share: f64) -> Rule {
        self.act(Action::Truncate(share))
    }

    /// Sends the answer's body slowly.
    pub fn drip(self, bytes: usize, pause: Duration) -> Rule {
        self.act(Action::Drip(bytes, pause))
    }

    /// Changes the peer's answer.
    pub fn edit(self, change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Rule {
        self.act(Action::Edit(Arc::new(change)))
    }
}

impl Rule {
    fn takes(&self, request: &Seen) -> bool {
        let target = &request.target;
        let matches = if self.exact { *target == self.path } else { target.contains(&self.path) };
        let holds = self.body.is_none_or(|text| find(&request.body, text.as_bytes()).is_some());
        if self.method.is_some_and(|wanted| wanted != request.method) || !matches || !holds {
            return false;
        }
        let earlier = self.matched.fetch_add(1, Ordering::SeqCst);
        earlier >= self.skip && earlier - self.skip < self.times
    }
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Arc<Rule>>>,
    seen: Mutex<Vec<Seen>>,
    refuse: AtomicBool,
}

/// A running proxy; stops when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free loopback port and forwards to `upstream`, for example `http://127.0.0.1:24006`.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .no_proxy()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            rules: Mutex::default(),
            seen: Mutex::default(),
            refuse: AtomicBool::new(false),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// The proxy's own address with a path behind it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Adds a rule behind the ones there are.
    pub fn rule(&self, rule: Rule) -> &Self {
        self.shared.rules.lock().unwrap().push(Arc::new(rule));
        self
    }

    /// Forgets all rules: everything passes through.
    pub fn clear(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// While set, every connection is closed at once, as if the peer were down.
    pub fn refuse(&self, yes: bool) {
        self.shared.refuse.store(yes, Ordering::SeqCst);
    }

    /// All requests so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests so far had this method (`"*"` for any) and this in their path or query.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let matches = |seen: &&Seen| (method == "*" || seen.method == method) && seen.target.contains(path);
        self.shared.seen.lock().unwrap().iter().filter(matches).count()
    }

    /// Waits until so many such requests have arrived.
    ///
    /// # Panics
    /// When they have not within `patience`.
    pub async fn wait_for(&self, method: &str, path: &str, n: usize, patience: Duration) {
        let end = Instant::now() + patience;
        while self.count(method, path) < n {
            assert!(Instant::now() < end, "{method} {path}: {} of {n} requests arrived", self.count(method, path));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The connections die with this task: a JoinSet aborts what it holds when dropped.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // An error here is the client's connection going away, which is often what the test is about.
            let _ = serve(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    if shared.refuse.load(Ordering::SeqCst) {
        return Ok(());
    }
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let action = {
        let rules = shared.rules.lock().unwrap();
        rules.iter().find(|rule| rule.takes(&request)).map(|rule| rule.action.clone())
    };
    let index = {
        let mut seen = shared.seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let Some((answer, sending)) = play(action, &request, shared).await else { return Ok(()) };
    shared.seen.lock().unwrap()[index].status = Some(answer.status);
    write_answer(&mut stream, &request.method, &answer, sending).await
}

/// How an answer goes out.
enum Sending {
    Whole,
    Share(f64),
    Pieces(usize, Duration),
}

/// Does what the action says; `None` closes the connection without an answer.
async fn play(action: Option<Action>, request: &Seen, shared: &Shared) -> Option<(Answer, Sending)> {
    let mut sending = Sending::Whole;
    match &action {
        Some(Action::Reply(answer)) => return Some((answer.clone(), sending)),
        Some(Action::Drop) => return None,
        Some(Action::Delay(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let mut answer = forward(request, shared).await;
    match action {
        Some(Action::LoseAnswer) => return None,
        Some(Action::Hold(gate)) => gate.notified().await,
        Some(Action::Truncate(share)) => sending = Sending::Share(share),
        Some(Action::Drip(bytes, pause)) => sending = Sending::Pieces(bytes, pause),
        Some(Action::Edit(change)) => change(&mut answer),
        _ => {}
    }
    Some((answer, sending))
}

/// Headers that belong to one hop, or that the other side computes anew. Compression is among them, so that
/// a test edits and counts plain bodies.
const HOP: [&str; 7] =
    ["connection", "keep-alive", "transfer-encoding", "content-length", "host", "expect", "accept-encoding"];

async fn forward(request: &Seen, shared: &Shared) -> Answer {
    let url = format!("{}{}", shared.upstream, request.target);
    let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
    let mut builder = shared.client.request(method, url).body(request.body.clone());
    for (name, value) in request.headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str())) {
        builder = builder.header(name, value);
    }
    let unreachable = || Answer::new(502, "text/plain", "fault proxy: the peer did not answer");
    let Ok(response) = builder.send().await else { return unreachable() };
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| !HOP.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let Ok(body) = response.bytes().await else { return unreachable() };
    Answer { status, headers, body: body.to_vec() }
}

async fn write_answer(stream: &mut TcpStream, method: &str, answer: &Answer, sending: Sending) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Fault-Proxy\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", answer.body.len()));
    stream.write_all(head.as_bytes()).await?;
    if method == "HEAD" {
        return stream.shutdown().await;
    }
    match sending {
        Sending::Whole => stream.write_all(&answer.body).await?,
        Sending::Share(share) => {
            let end = (answer.body.len() as f64 * share) as usize;
            stream.write_all(&answer.body[..end.min(answer.body.len())]).await?;
        }
        Sending::Pieces(bytes, pause) => {
            for piece in answer.body.chunks(bytes.max(1)) {
                stream.write_all(piece).await?;
                stream.flush().await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    stream.shutdown().await
}

/// Reads one request with its body; `None` when the client closed without sending one.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut buffer = Vec::new();
    let head_end = loop {
        if let Some(at) = find(&buffer, b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let rest = buffer.split_off(head_end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let value = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if value("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunked(stream, rest).await?
    } else {
        let length = value("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        read_at_least(stream, rest, length).await?
    };
    Ok(Some(Seen { method, target, headers, body, status: None }))
}

async fn read_at_least(stream: &mut TcpStream, mut data: Vec<u8>, length: usize) -> std::io::Result<Vec<u8>> {
    while data.len() < length {
        if stream.read_buf(&mut data).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(data)
}

async fn read_chunked(stream: &mut TcpStream, mut data: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(&data, b"\r\n") {
                break at;
            }
            let wanted = data.len() + 1;
            data = read_at_least(stream, data, wanted).await?;
        };
        let text = String::from_utf8_lossy(&data[..line_end]).into_owned();
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
        data.drain(..line_end + 2);
        data = read_at_least(stream, data, size + 2).await?;
        body.extend_from_slice(&data[..size]);
        data.drain(..size + 2);
        if size == 0 {
            return Ok(body);
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
