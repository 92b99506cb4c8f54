//! ListTransactions (key 66): the transactional ids of this broker (KIP-664). Served: v0-v2.
//!
//! v1 by age (KIP-994) · v2 by a pattern of their names (KIP-1152).

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use klamm_model::{ErrorCode, ProducerId};
use klamm_protocol::list_transactions_response::TransactionState;
use klamm_protocol::{ListTransactionsRequest, ListTransactionsResponse, Listener};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{Request, Response, State, TransactionFilter};
use regex::{Regex, RegexBuilder};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::misplaced;

/// A pattern that needs more memory than this is refused.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct ListTransactions;

impl Api for ListTransactions {
    type Request = ListTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: ListTransactionsRequest,
        _: i16,
    ) -> Reply<ListTransactionsResponse> {
        let mut response = ListTransactionsResponse::default();
        let pattern = match request.transactional_id_pattern.map(|text| compile(&text)) {
            None => None,
            Some(Ok(pattern)) => Some(pattern),
            Some(Err(error)) => {
                tracing::debug!(%error, "a pattern of transactional ids cannot be understood");
                response.error_code = ErrorCode::InvalidRegularExpression.code();
                return response.into();
            }
        };
        let (known, unknown): (Vec<Str>, Vec<Str>) =
            request.state_filters.into_iter().partition(|name| State::from_name(name).is_some());
        // States that nobody is in: nothing is asked for.
        let asks_nothing = known.is_empty() && !unknown.is_empty();
        response.unknown_state_filters = unknown;
        if asks_nothing {
            return response.into();
        }
        let filter = Arc::new(TransactionFilter {
            states: known.iter().filter_map(|name| State::from_name(name)).collect(),
            producer_ids: request.producer_id_filters.into_iter().map(ProducerId).collect(),
            longer_than_ms: Some(request.duration_filter).filter(|ms| *ms >= 0),
        });
        for answer in ctx.transactions.request_all(move || Request::List(Arc::clone(&filter))).await
        {
            match answer {
                Response::Listed(lines) => {
                    let is_wanted = |id: &str| pattern.as_ref().is_none_or(|p| p.is_match(id));
                    let wanted = lines.into_iter().filter(|line| is_wanted(&line.transactional_id));
                    response.transaction_states.extend(wanted.map(|line| TransactionState {
                        transactional_id: line.transactional_id,
                        producer_id: line.producer_id.0,
                        transaction_state: Str::from_static(line.state.name()),
                    }));
                }
                Response::Unavailable(ErrorCode::NotCoordinator) => {}
                other => response.error_code = misplaced(&other).code(),
            }
        }
        response.transaction_states.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        response.into()
    }
}

/// A pattern of whole names, as Kafka's RE2/J matches them.
fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_BYTES_MAX).build()
}
