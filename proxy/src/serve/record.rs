//! One guard a request: whatever way the request ends, it is counted once.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use http::HeaderMap;

use super::{accesslog::Entry, request, worker::Shared};
use crate::{
    contract::CLIENT_CLOSED_REQUEST,
    metrics::{Failure, Sample, Series},
};

pub(super) struct Record {
    shared: Rc<Shared>,
    series: Arc<Series>,
    started: Instant,
    /// Until the head of a response is on its way, the only end is that the client left.
    pub code: u16,
    /// Counted by the request's body, which the upstream connection owns.
    pub request_bytes: Option<Rc<Cell<u64>>>,
    pub response_bytes: u64,
    /// Errors have to be told in the way of gRPC.
    pub grpc: bool,
    log: Option<Box<Entry>>,
}

impl Record {
    pub(super) fn begin(
        shared: Rc<Shared>,
        series: Arc<Series>,
        started: Instant,
        log: Option<Box<Entry>>,
        grpc: bool,
    ) -> Self {
        series.begin(shared.index);
        let code = CLIENT_CLOSED_REQUEST;
        Self { shared, series, started, code, request_bytes: None, response_bytes: 0, grpc, log }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(super) fn endpoint(&mut self, address: SocketAddr) {
        if let Some(entry) = &mut self.log {
            entry.endpoint = Some(address);
        }
    }

    /// The head as it is sent on, before the filters of the route.
    pub(super) fn forwarded(&mut self, headers: &HeaderMap) {
        if let Some(entry) = &mut self.log {
            entry.forwarded_for = headers.get(&request::X_FORWARDED_FOR).cloned();
            entry.request_id = headers.get(&request::X_REQUEST_ID).cloned();
        }
    }

    pub(super) fn connected(&self) {
        self.series.connected(self.shared.index);
    }

    pub(super) fn retried(&self) {
        self.series.retried(self.shared.index);
    }

    pub(super) fn mirrored(&self) {
        self.series.mirrored(self.shared.index);
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        self.series.failed(self.shared.index, failure);
        self.reason(failure.reason());
    }

    /// Why the request did not end well, for the access log.
    pub(super) fn reason(&mut self, reason: &'static str) {
        if let Some(entry) = &mut self.log {
            entry.failure = Some(reason);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let sample = Sample {
            code: self.code,
            duration: self.started.elapsed(),
            request_bytes: self.request_bytes.as_ref().map_or(0, |bytes| bytes.get()),
            response_bytes: self.response_bytes,
        };
        self.series.record(self.shared.index, &sample);
        if let (Some(mut entry), Some(log)) = (self.log.take(), &self.shared.log) {
            entry.sample = sample;
            log.push(&self.series, entry);
        }
    }
}
