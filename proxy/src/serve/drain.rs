//! How the connections of one socket, on one worker, learn that they should end.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Responses carry `connection: close`; the socket no longer accepts.
    Ending,
    /// Idle connections are closed.
    Closing,
    /// Every connection is cut.
    Cut,
}

pub(super) struct Drain {
    phase: Cell<Phase>,
    /// Of each open connection's task.
    wakers: RefCell<HashMap<u64, Waker>>,
    next: Cell<u64>,
    stop: Notify,
    accepting_ended: Notify,
}

impl Drain {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Open),
            wakers: RefCell::default(),
            next: Cell::new(0),
            stop: Notify::new(),
            accepting_ended: Notify::new(),
        })
    }

    pub(super) fn ending(&self) -> bool {
        self.phase.get() >= Phase::Ending
    }

    /// Waits for the signal to accept no more.
    pub(super) async fn stop_signal(&self) {
        self.stop.notified().await;
    }

    /// The accept loop is over and its socket closed.
    pub(super) fn accept_loop_ended(&self) {
        self.accepting_ended.notify_one();
    }

    /// Stops accepting; resolves when the socket is closed.
    pub(super) async fn stopped(&self) {
        self.phase.set(self.phase.get().max(Phase::Ending));
        self.stop.notify_one();
        self.accepting_ended.notified().await;
    }

    pub(super) fn close(&self) {
        self.enter(Phase::Closing);
    }

    pub(super) fn cut(&self) {
        self.enter(Phase::Cut);
    }

    fn enter(&self, phase: Phase) {
        if self.phase.get() < phase {
            self.phase.set(phase);
            // Taken out first: waking may run code that registers again.
            let wakers: Vec<Waker> = self.wakers.borrow().values().cloned().collect();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Runs `connection` to its end, or to the end that this drain asks for.
    pub(super) async fn run<C>(self: Rc<Self>, mut connection: C)
    where
        C: Graceful,
    {
        let id = self.next.replace(self.next.get() + 1);
        let _out = Registered { drain: &self, id };
        let (mut registered, mut told) = (false, false);
        poll_fn(|cx| {
            if !registered {
                registered = true;
                self.wakers.borrow_mut().insert(id, cx.waker().clone());
            }
            match self.phase.get() {
                Phase::Open | Phase::Ending => {}
                Phase::Closing => {
                    if !std::mem::replace(&mut told, true) {
                        connection.close_when_idle();
                    }
                }
                Phase::Cut => return Poll::Ready(()),
            }
            connection.poll_end(cx)
        })
        .await;
    }
}

struct Registered<'a> {
    drain: &'a Drain,
    id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.drain.wakers.borrow_mut().remove(&self.id);
    }
}

/// A connection that can be asked to end after what it is doing.
pub(super) trait Graceful {
    fn close_when_idle(&mut self);
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connection that cannot know when it is idle: it ends by itself or is cut.
pub(super) struct Opaque<F>(pub Pin<Box<F>>);

impl<F: Future<Output = ()>> Graceful for Opaque<F> {
    fn close_when_idle(&mut self) {}

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// How hyper ends a connection.
pub(super) trait Closing: Future {
    fn graceful(self: Pin<&mut Self>);
}

impl<C: Closing> Graceful for Pin<Box<C>> {
    fn close_when_idle(&mut self) {
        self.as_mut().graceful();
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // How a connection failed says nothing that its requests did not record.
        self.as_mut().poll(cx).map(|_| ())
    }
}
