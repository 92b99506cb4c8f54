//! What a worker knows of a connection without asking it, and how it ends.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};

use klamm_env::Moment;

use crate::frames::FrameError;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The other side closed it.
    Peer,
    /// We closed it in order: shutdown, or idle for too long.
    Told,
    /// The session asked for it.
    Session(String),
    /// The other side sent what is no frame.
    Frame(FrameError),
    /// The socket or a file failed.
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Whether a connection was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    /// After the requests that it has started are answered.
    AfterWork,
    /// At once, also when the other side does not take its answers.
    Now,
}

/// What the worker knows of a connection without asking it.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) active_at: Cell<Moment>,
    pub(crate) requests_in_flight: Cell<usize>,
    closing: Cell<Closing>,
    waker: RefCell<Option<Waker>>,
}

impl Tag {
    pub(crate) fn new(now: Moment) -> Rc<Self> {
        Rc::new(Self {
            active_at: Cell::new(now),
            requests_in_flight: Cell::new(0),
            closing: Cell::new(Closing::No),
            waker: RefCell::new(None),
        })
    }

    /// Asks the connection to end.
    pub(crate) fn close(&self, how: Closing) {
        self.closing.set(how);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What the connection was asked to do.
    pub(crate) fn closing(&self) -> Closing {
        self.closing.get()
    }

    /// Who is woken when it is asked.
    pub(crate) fn wake_by(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}
