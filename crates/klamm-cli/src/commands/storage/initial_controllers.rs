//! `id@host:port:directory-id,...`: the voters that a quorum starts with (KIP-853; Kafka:
//! `DynamicVoters`).

use klamm_model::{NodeId, Uuid};
use klamm_raft::{Voter, VoterEndpoint};

pub(super) fn parse(text: &str, listener: &str) -> Result<Vec<Voter>, String> {
    let mut voters = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        voters.push(voter(part, listener)?);
    }
    if voters.is_empty() {
        return Err("no initial controller is given".to_owned());
    }
    Ok(voters)
}

fn voter(text: &str, listener: &str) -> Result<Voter, String> {
    let refuse = |what: &str| format!("'{text}' is no id@host:port:directory-id: {what}");
    let (id, rest) = text.split_once('@').ok_or_else(|| refuse("there is no '@'"))?;
    let id = id.parse::<i32>().ok().filter(|id| *id >= 0);
    let id = id.ok_or_else(|| refuse("the id is no number"))?;
    let (address, directory) =
        rest.rsplit_once(':').ok_or_else(|| refuse("there is no directory id"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| refuse("there is no port"))?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains('[') {
        return Err(refuse("the host is missing"));
    }
    let port = port.parse().map_err(|_| refuse("the port is no number"))?;
    let directory_id: Uuid = directory.parse().map_err(|_| refuse("the directory id is none"))?;
    let endpoint = VoterEndpoint { listener: listener.to_owned(), host: host.to_owned(), port };
    Ok(Voter { node_id: NodeId(id), directory_id: Some(directory_id), endpoints: vec![endpoint] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_have_an_id_an_address_and_a_directory() {
        let text = "0@a:1:JEXY6aqzQY-32P5TStzaFg, 7@[::1]:2:MvDxzVmcRsaTz33bUuRU6A";
        let voters = parse(text, "C").unwrap();
        assert_eq!(voters.len(), 2);
        assert_eq!(voters[1].node_id, NodeId(7));
        assert_eq!(voters[1].endpoints[0].host, "::1");
        assert_eq!(voters[0].directory_id.unwrap().to_string(), "JEXY6aqzQY-32P5TStzaFg");
    }

    #[test]
    fn an_incomplete_voter_is_refused() {
        for text in [
            "",
            "x",
            "0@",
            "0@a:1",
            "-1@a:1:JEXY6aqzQY-32P5TStzaFg",
            "0@a:x:JEXY6aqzQY-32P5TStzaFg",
            "0@:1:JEXY6aqzQY-32P5TStzaFg",
            "0@a:1:short",
            "0@a:1:JEXY6aqzQY-32P5TStzaFg,x",
        ] {
            assert!(parse(text, "C").is_err(), "{text}");
        }
    }
}
