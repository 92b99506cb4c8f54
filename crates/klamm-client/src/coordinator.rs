//! Whom to ask for a group or a transactional id.

use klamm_model::NodeId;
use klamm_protocol::FindCoordinatorRequest;
use klamm_stdx::Str;

use crate::cluster::Client;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// What a coordinator looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinated {
    /// A group.
    Group,
    /// A transactional id.
    TransactionalId,
}

impl Coordinated {
    /// Kafka: `CoordinatorType`.
    fn to_wire(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::TransactionalId => 1,
        }
    }
}

impl std::fmt::Display for Coordinated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::TransactionalId => "transactional id",
        })
    }
}

impl Client {
    /// The broker that coordinates a group.
    ///
    /// # Errors
    /// There is none for too long.
    pub async fn group_coordinator(&self, group_id: &Str) -> Result<NodeId> {
        self.coordinator(Coordinated::Group, group_id).await
    }

    /// The broker that coordinates a group or a transactional id.
    ///
    /// # Errors
    /// There is none for too long.
    pub async fn coordinator(&self, what: Coordinated, name: &Str) -> Result<NodeId> {
        let key_type = what.to_wire();
        let mut retry = Retry::default();
        loop {
            let version = self.any().await?.version(klamm_protocol::ApiKey::FindCoordinator)?;
            let request = match version {
                ..=3 => {
                    FindCoordinatorRequest { key: name.clone(), key_type, ..Default::default() }
                }
                _ => FindCoordinatorRequest {
                    key_type,
                    coordinator_keys: vec![name.clone()],
                    ..Default::default()
                },
            };
            let response = self.call(&request).await?;
            let found = match response.coordinators.into_iter().next() {
                Some(found) => found,
                None => klamm_protocol::find_coordinator_response::Coordinator {
                    key: name.clone(),
                    node_id: response.node_id,
                    host: response.host,
                    port: response.port,
                    error_code: response.error_code,
                    error_message: response.error_message,
                },
            };
            if found.error_code == 0 {
                self.learn_broker(found.node_id, &found.host, found.port);
                return Ok(NodeId(found.node_id));
            }
            let what = format!("finding the coordinator of {what} '{name}'");
            let error =
                ClientError::refused(found.error_code, found.error_message.as_deref(), &what);
            if !(error.is_retriable() && retry.again().await) {
                return Err(error);
            }
        }
    }
}
