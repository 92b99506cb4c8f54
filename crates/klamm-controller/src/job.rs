//! One request to the controller on its way through the thread. Never answered twice, and never
//! left without an answer: a job that is dropped tells its waiter by hanging up.

use klamm_metadata::VersionedRecord;
use tokio::sync::oneshot;

use crate::{ApiError, Context, Controller, ControllerResult};

/// A request, whatever it is about.
pub(crate) trait Job: Send {
    /// Decides; the response is kept until the records are committed.
    fn decide(
        &mut self,
        controller: &mut Controller,
        context: &Context<'_>,
    ) -> Vec<VersionedRecord>;

    /// Answers with the response if the records are committed, or else with what failed.
    fn answer(self: Box<Self>, outcome: Result<(), ApiError>);
}

/// A request as a function and the waiter for its response.
pub(crate) struct Operation<F, T> {
    decide: Option<F>,
    response: Option<T>,
    reply: oneshot::Sender<Result<T, ApiError>>,
}

impl<F, T> Operation<F, T> {
    pub(crate) fn new(decide: F, reply: oneshot::Sender<Result<T, ApiError>>) -> Self {
        Self { decide: Some(decide), response: None, reply }
    }
}

impl<F, T> Job for Operation<F, T>
where
    F: FnOnce(&mut Controller, &Context<'_>) -> ControllerResult<T> + Send,
    T: Send,
{
    fn decide(
        &mut self,
        controller: &mut Controller,
        context: &Context<'_>,
    ) -> Vec<VersionedRecord> {
        let Some(decide) = self.decide.take() else { return Vec::new() };
        let result = decide(controller, context);
        self.response = Some(result.response);
        result.records
    }

    fn answer(self: Box<Self>, outcome: Result<(), ApiError>) {
        let Self { response, reply, .. } = *self;
        match (outcome, response) {
            // Who asked may have gone; the decision stands all the same.
            (Ok(()), Some(response)) => drop(reply.send(Ok(response))),
            (Ok(()), None) => {}
            (Err(error), _) => drop(reply.send(Err(error))),
        }
    }
}
