//! Signals, drain and grace: one owner tells every task to stop at its next checkpoint and waits for it.

use std::future::Future;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a task of the process ended: its name and, when it failed, why.
pub type TaskEnd = (&'static str, Result<(), crate::failure::Failure>);

/// The tasks of a process and the token that tells them to stop.
#[derive(Default)]
pub struct Lifecycle {
    stop: CancellationToken,
    tasks: JoinSet<TaskEnd>,
}

impl Lifecycle {
    /// A token that is cancelled when the process shall stop.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that ends at its next checkpoint after the token was cancelled.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), crate::failure::Failure>> + Send + 'static,
    {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Runs until SIGTERM or SIGINT, or until a task ends on its own; then stops the others and waits up to `grace`.
    ///
    /// # Errors
    /// The first failure of a task.
    pub async fn run(mut self, grace: Duration) -> Result<(), crate::failure::Failure> {
        let first = tokio::select! {
            () = terminated() => {
                tracing::info!(grace_secs = grace.as_secs(), "stop signal received");
                None
            }
            ended = self.tasks.join_next() => ended,
        };
        self.stop.cancel();
        let mut outcome = first.map_or(Ok(()), settle);
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                let settled = settle(ended);
                if outcome.is_ok() {
                    outcome = settled;
                }
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            tracing::warn!("work did not reach a checkpoint within the grace period; its leases will expire");
            self.tasks.abort_all();
        }
        outcome
    }
}

fn settle(ended: Result<TaskEnd, tokio::task::JoinError>) -> Result<(), crate::failure::Failure> {
    match ended {
        Ok((_, Ok(()))) => Ok(()),
        Ok((task, Err(failure))) => {
            tracing::error!(task, reason = %failure, "task ended");
            Err(failure)
        }
        Err(error) => {
            tracing::error!(panicked = error.is_panic(), "task ended abnormally");
            Err(crate::failure::Failure::permanent(crate::failure::Code::Internal, "a task ended abnormally"))
        }
    }
}

async fn terminated() {
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (term, int) {
        (Ok(mut term), Ok(mut int)) => {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        }
        // Without signal handling the process can only be killed; work survives that.
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::failure::{Code, Failure};

    #[tokio::test]
    async fn a_failing_task_stops_the_others_and_is_reported() {
        let mut lifecycle = Lifecycle::default();
        let stop = lifecycle.stop_token();
        let (stopped, heard) = tokio::sync::oneshot::channel();
        lifecycle.spawn("waits", async move {
            stop.cancelled().await;
            stopped.send(()).unwrap();
            Ok(())
        });
        lifecycle.spawn("fails", async { Err(Failure::permanent(Code::Internal, "")) });
        assert!(lifecycle.run(Duration::from_secs(5)).await.is_err());
        heard.await.unwrap();
    }
}
