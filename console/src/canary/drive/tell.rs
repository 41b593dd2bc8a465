//! Tells of transitions: to the journal, to whoever listens, to the route's Events, to the
//! Lease for `gwtop canary status`, to notification webhooks, and to the report.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::Context;
use crate::{
    canary::{Transition, journal::Journal, report},
    cluster::{
        lease,
        post::{self, News},
    },
    exit::Exit,
    model::key::ObjectKey,
};

/// How long the last words may take to get out.
const LAST: Duration = Duration::from_secs(5);

/// Where the words of a claimed run go besides the terminal.
struct Board {
    route: ObjectKey,
    uid: Option<String>,
    lease: Option<String>,
}

enum Post {
    Word(Arc<Board>, Box<Transition>),
    Done(oneshot::Sender<()>),
}

pub(super) struct Teller {
    context: Arc<Context>,
    journal: Option<Journal>,
    pub(super) events: mpsc::Sender<Transition>,
    boards: Vec<Arc<Board>>,
    posts: Option<mpsc::Sender<Post>>,
    said: Vec<Transition>,
}

impl Teller {
    pub(super) fn new(context: &Arc<Context>, events: mpsc::Sender<Transition>) -> Self {
        let journal = context.settings.dry_run.is_none().then(|| Journal::new(&context.run));
        Self { context: context.clone(), journal, events, boards: Vec::new(), posts: None, said: Vec::new() }
    }

    /// From now on the route hears of it too.
    pub(super) fn publish(&mut self, route: &ObjectKey, object: &Value, lease: Option<String>) {
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
        self.boards.push(Arc::new(Board { route: route.clone(), uid, lease }));
        if self.posts.is_none() {
            let (sender, receiver) = mpsc::channel(64);
            tokio::spawn(run(self.context.clone(), receiver));
            self.posts = Some(sender);
        }
    }

    pub(super) fn blank(&self) -> Transition {
        Transition::blank(&self.context.settings, &self.context.run, &self.context.connection.context)
    }

    /// Never waits: a listener that sleeps must not hold up a rollback. The last line is
    /// given time.
    pub(super) async fn tell(&mut self, transition: Transition) {
        if let Some(journal) = &mut self.journal {
            journal.write(&transition);
        }
        self.said.push(transition.clone());
        if let Some(posts) = &self.posts {
            for board in &self.boards {
                let _ = posts.try_send(Post::Word(board.clone(), Box::new(transition.clone())));
            }
        }
        if transition.finished.is_none() {
            let _ = self.events.try_send(transition);
            return;
        }
        if let Some(path) = &self.context.settings.report
            && let Err(error) = report::write(path, &self.said)
        {
            eprintln!("gwtop: cannot write the report {}: {error}", path.display());
        }
        if let Some(posts) = &self.posts {
            let (sender, done) = oneshot::channel();
            let _ = tokio::time::timeout(LAST, async {
                let _ = posts.send(Post::Done(sender)).await;
                let _ = done.await;
            })
            .await;
        }
        let _ = self.events.send_timeout(transition, LAST).await;
    }
}

async fn run(context: Arc<Context>, mut posts: mpsc::Receiver<Post>) {
    let http = super::checks::client(&context.settings).ok();
    let mut complained = false;
    while let Some(post) = posts.recv().await {
        let (board, transition) = match post {
            Post::Word(board, transition) => (board, transition),
            Post::Done(sender) => {
                let _ = sender.send(());
                continue;
            }
        };
        // First of all: from it others learn where the run stood should it die.
        if let Some(lease) = &board.lease {
            let state = json!({
                "run": transition.run, "phase": transition.phase, "step": transition.step, "steps": transition.steps,
                "weight": transition.weight, "message": transition.message, "time": transition.time,
                "stable": transition.stable, "canary": transition.canary, "evidence": transition.evidence,
                "rollback": transition.rollback, "finished": transition.finished,
            });
            let annotations = json!({lease::STATE: state.to_string()});
            if let Err(error) = lease::annotate(&context.connection, &board.route.namespace, lease, &annotations).await
            {
                tracing::warn!(%error, "cannot write the run's state on its Lease");
            }
        }
        let bad = transition.finished.is_some_and(|exit| exit != Exit::Ok)
            || matches!(transition.phase, "RollingBack" | "Frozen" | "Hold" | "Drift" | "Stale");
        let note = format!(
            "canary {} step {}/{} at {} %: {}",
            transition.canary,
            transition.step,
            transition.steps,
            crate::canary::plan::short(transition.weight),
            transition.message
        );
        let news = News {
            about: &board.route,
            uid: board.uid.as_deref(),
            reason: transition.phase,
            note: &note,
            warning: bad,
            instance: &context.holder,
        };
        if let Err(error) = post::post(&context.connection, news).await
            && !complained
        {
            complained = true;
            tracing::warn!(%error, "cannot post Events on the route; the run goes on without");
        }
        if matches!(transition.phase, "Claim" | "Approval" | "Hold" | "RollingBack" | "Promote" | "Frozen")
            || transition.finished.is_some()
        {
            for url in &context.settings.notify {
                let Some(http) = &http else { continue };
                let text = format!("*{}* {} ({}): {note}", transition.phase, transition.route, transition.context);
                let body = json!({"text": text}).to_string();
                let sent = http.post(url).header("content-type", "application/json").body(body).send().await;
                match sent {
                    Ok(answer) if answer.status().is_success() => {}
                    // The URL may hold a secret: it is not repeated.
                    Ok(answer) => tracing::warn!(status = %answer.status(), "a notification was refused"),
                    Err(error) => {
                        let why = crate::traffic::scrape::innermost(&error);
                        tracing::warn!(%why, "a notification was not sent");
                    }
                }
            }
        }
    }
}
