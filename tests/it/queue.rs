//! The queue against a real broker: proof of routing, delays, poison, dead letters, restarts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use scargate::config::{self, Secret};
use scargate::domain::run::RunId;
use scargate::queue::{Message, Outcome, Queue, QueueError, Route};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::servers::{PrivateServers, Servers};
use crate::support::unique;

/// A queue under a prefix of its own, with short delays.
pub fn broker_config(servers: &Servers) -> config::Broker {
    config::Broker {
        url: Secret::from(servers.amqp_url().as_str()),
        prefix: unique::word("q"),
        prefetch: 2,
        retry_delays_secs: vec![1, 3],
        max_attempts: 3,
        delivery_limit: 3,
        lease_secs: 4,
        heartbeat_secs: 1,
        reconcile_secs: 1,
    }
}

fn queue(servers: &Servers) -> Queue {
    Queue::new(&broker_config(servers)).unwrap()
}

/// A consumer that reports every run it was given and answers with `outcome`.
struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<()>,
    seen: mpsc::UnboundedReceiver<(RunId, Instant)>,
}

impl Consumer {
    fn start(queue: &Queue, outcome: impl Fn(RunId) -> Outcome + Clone + Send + Sync + 'static) -> Self {
        let (stop, (sender, seen)) = (CancellationToken::new(), mpsc::unbounded_channel());
        let (queue, token) = (queue.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let handler = move |job: scargate::queue::Job| {
                let (sender, outcome) = (sender.clone(), outcome.clone());
                async move {
                    let _ = sender.send((job.run, Instant::now()));
                    outcome(job.run)
                }
            };
            queue.consume(2, token, handler).await;
        });
        Self { stop, task, seen }
    }

    async fn next(&mut self) -> (RunId, Instant) {
        tokio::time::timeout(Duration::from_secs(20), self.seen.recv()).await.expect("no message came").unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("the consumer did not stop").unwrap();
    }
}

async fn raw(servers: &Servers) -> (Connection, lapin::Channel) {
    let connection = Connection::connect(&servers.amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn publish_raw(servers: &Servers, queue: &str, bytes: &[u8]) {
    let (_connection, channel) = raw(servers).await;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (name, properties) = (ShortString::from(queue), BasicProperties::default());
    channel.basic_publish("".into(), name, options, bytes, properties).await.unwrap().await.unwrap();
    // Not confirmed: closing the channel cleanly makes the broker take it first.
    channel.close(200, "done".into()).await.unwrap();
}

/// Waits until a count of dead letters is there.
async fn dead_letters(queue: &Queue, count: usize) -> Vec<scargate::queue::DeadLetter> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let letters = queue.dead_letters(100).await.unwrap();
        if letters.len() >= count {
            assert_eq!(letters.len(), count, "{letters:?}");
            return letters;
        }
        assert!(Instant::now() < deadline, "dead letters: {letters:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_message_that_no_queue_takes_is_a_failure_and_the_queue_is_made_again() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    let message = Message::Run(RunId::new());
    queue.publish(&message, Route::Now).await.unwrap();
    let (_connection, channel) = raw(&servers).await;
    let work = ShortString::from(queue.topology().work());
    channel.queue_delete(work, QueueDeleteOptions::default()).await.unwrap();
    let error = queue.publish(&message, Route::Now).await.unwrap_err();
    assert!(matches!(error, QueueError::Returned), "{error:?}");
    queue.publish(&message, Route::Now).await.expect("the next publish declares what is missing");
    assert_eq!(queue.depths().await.unwrap().ready, 1);
}

#[tokio::test]
async fn delays_are_kept_and_a_short_one_does_not_wait_for_a_long_one() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    let [slow, quick] = [RunId::new(), RunId::new()];
    let start = Instant::now();
    queue.publish(&Message::Run(slow), Route::After(Duration::from_secs(2))).await.unwrap();
    queue.publish(&Message::Run(quick), Route::After(Duration::from_millis(500))).await.unwrap();
    assert_eq!(queue.depths().await.unwrap().waiting, 2);
    let mut consumer = Consumer::start(&queue, |_| Outcome::Done);
    let (first, second) = (consumer.next().await, consumer.next().await);
    assert_eq!((first.0, second.0), (quick, slow));
    let (first, second) = (first.1 - start, second.1 - start);
    assert!(first >= Duration::from_millis(990) && first < Duration::from_millis(2900), "{first:?}");
    assert!(second >= Duration::from_millis(2990), "rounded up to the rung of 3 s: {second:?}");
    consumer.stop().await;
    assert_eq!(queue.depths().await.unwrap(), Default::default(), "all acknowledged");
}

#[tokio::test]
async fn a_message_put_off_comes_again_after_its_delay() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    let run = RunId::new();
    queue.publish(&Message::Run(run), Route::Now).await.unwrap();
    let times = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = times.clone();
    let mut consumer =
        Consumer::start(&queue, move |_| match counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Outcome::Later(Duration::from_secs(1)),
            _ => Outcome::Done,
        });
    let (first, second) = (consumer.next().await, consumer.next().await);
    assert_eq!((first.0, second.0), (run, run));
    assert!(second.1 - first.1 >= Duration::from_millis(990), "{:?}", second.1 - first.1);
    consumer.stop().await;
    assert_eq!(queue.depths().await.unwrap(), Default::default());
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_with_its_reason_and_blocks_nothing() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    queue.check().await.unwrap();
    let unreadable: [&[u8]; 3] = [br#"{"v":99,"type":"run"}"#, b"\xff\xfe not json", br#"{"v":1,"type":"dance"}"#];
    for bytes in unreadable {
        publish_raw(&servers, &queue.topology().work(), bytes).await;
    }
    let run = RunId::new();
    queue.publish(&Message::Run(run), Route::Now).await.unwrap();
    let mut consumer = Consumer::start(&queue, |_| Outcome::Done);
    assert_eq!(consumer.next().await.0, run);
    let letters = dead_letters(&queue, 3).await;
    assert!(letters.iter().all(|letter| letter.reason.code == "message-unreadable" && letter.run.is_none()));
    let details: Vec<&str> = letters.iter().map(|letter| letter.reason.detail.as_str()).collect();
    assert!(details.iter().any(|detail| detail.contains("version 99 is not known")), "{details:?}");
    consumer.stop().await;
    let redriven = queue.redrive(None).await.unwrap();
    assert_eq!((redriven.sent, redriven.left), (0, 3), "what cannot be read is not sent round again");
    assert_eq!(queue.depths().await.unwrap().dead, 3, "and not lost");
}

#[tokio::test]
async fn a_poison_message_is_put_aside_by_the_broker_and_can_be_redriven() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    let [poison, other] = [RunId::new(), RunId::new()];
    queue.publish(&Message::Run(poison), Route::Now).await.unwrap();
    let consumer = Consumer::start(&queue, |_| Outcome::GiveBack);
    let letters = dead_letters(&queue, 1).await;
    assert_eq!((letters[0].run, letters[0].reason.code.as_str()), (Some(poison), "delivery_limit"));
    consumer.stop().await;

    assert_eq!(queue.redrive(Some(other)).await.unwrap().sent, 0, "only the run that was asked for");
    assert_eq!(queue.redrive(Some(poison)).await.unwrap().sent, 1);
    let mut consumer = Consumer::start(&queue, |_| Outcome::Done);
    assert_eq!(consumer.next().await.0, poison);
    consumer.stop().await;
    assert_eq!(queue.depths().await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_handler_that_panics_loses_neither_the_message_nor_the_consumer() {
    let servers = Servers::shared();
    let queue = queue(&servers);
    let [bad, good] = [RunId::new(), RunId::new()];
    let mut consumer = Consumer::start(&queue, move |run| if run == bad { panic!("a bug") } else { Outcome::Done });
    for run in [bad, good] {
        queue.publish(&Message::Run(run), Route::Now).await.unwrap();
    }
    let seen = HashSet::from([consumer.next().await.0, consumer.next().await.0]);
    assert_eq!(seen, HashSet::from([bad, good]));
    let letters = dead_letters(&queue, 1).await;
    assert_eq!((letters[0].run, letters[0].reason.code.as_str()), (Some(bad), "internal"));
    consumer.stop().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_as_a_configuration_fault() {
    let servers = Servers::shared();
    let mut config = broker_config(&servers);
    Queue::new(&config).unwrap().check().await.unwrap();
    config.delivery_limit += 1;
    let error = Queue::new(&config).unwrap().check().await.unwrap_err();
    assert!(matches!(error, QueueError::OtherArguments), "{error:?}");
}

/// The broker is killed (not stopped) twice while messages are published and consumed: what was confirmed arrives,
/// publisher and consumer go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_loses_nothing_that_it_confirmed() {
    let servers = PrivateServers::start(&["rabbitmq"]);
    let queue = queue(&servers);
    let seen: Arc<Mutex<HashMap<RunId, usize>>> = Arc::default();
    let mut consumer = Consumer::start(&queue, |_| Outcome::Done);
    let collecting = {
        let seen = seen.clone();
        let mut incoming = std::mem::replace(&mut consumer.seen, mpsc::unbounded_channel().1);
        tokio::spawn(async move {
            while let Some((run, _)) = incoming.recv().await {
                *seen.lock().await.entry(run).or_default() += 1;
            }
        })
    };
    let publishing = {
        let queue = queue.clone();
        tokio::spawn(async move {
            let (mut confirmed, mut failures) = (HashSet::new(), 0);
            while confirmed.len() < 300 {
                let run = RunId::new();
                match queue.publish(&Message::Run(run), Route::Now).await {
                    Ok(()) => drop(confirmed.insert(run)),
                    Err(_) => failures += 1,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (confirmed, failures)
        })
    };
    let servers = Arc::new(servers);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let servers = servers.clone();
        let restart = move || {
            servers.kill("rabbitmq");
            servers.up("rabbitmq");
        };
        tokio::task::spawn_blocking(restart).await.unwrap();
    }
    let (confirmed, failures) = publishing.await.unwrap();
    assert!(failures > 0, "the broker was away while messages were published");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let missing = {
            let seen = seen.lock().await;
            confirmed.iter().filter(|run| !seen.contains_key(run)).count()
        };
        if missing == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{missing} confirmed messages did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    consumer.stop().await;
    collecting.await.unwrap();
    assert_eq!(queue.depths().await.unwrap(), Default::default());
}
