//! Members of both protocols come, go, fail and change their broker at random: no partition ever
//! has two owners, and who stays has everything in the end.

use super::*;

const PLACES: usize = 3;
const PARTITIONS: i32 = 5;
const ROUNDS: usize = 40;

/// A few eager classic clients and a few consumers; some of them are on.
#[derive(Default)]
struct Clients {
    classics: [Option<Classic>; PLACES],
    consumers: [Option<Client>; PLACES],
    /// Joins and syncs that wait for others, by the place of who sent them.
    waiting: Vec<(usize, Ticket)>,
    born: usize,
}

/// A generator of numbers that tests can repeat (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}

impl Clients {
    fn new_id(&mut self) -> String {
        self.born += 1;
        format!("m{:03}", self.born)
    }

    fn change(&mut self, world: &mut World, dice: &mut Dice) {
        let at = dice.roll(PLACES);
        match dice.roll(12) {
            0 | 1 => {
                let id = self.new_id();
                self.consumers[at].get_or_insert_with(|| Client::new(&id));
            }
            2 | 3 => {
                let id = self.new_id();
                self.classics[at].get_or_insert_with(|| Classic::new(&id));
            }
            4 | 5 => {
                if let Some(client) = self.consumers[at].take() {
                    // It may have been removed meanwhile.
                    drop(world.send(client.leaves(-1)));
                }
            }
            6 | 7 => {
                let id = self.classics[at].as_ref().map(|client| client.id.clone());
                self.forget_classic(at);
                id.iter().for_each(|id| world.leave_quietly(id));
            }
            8 => self.consumers[at] = None,
            9 => self.forget_classic(at),
            10 => world.change_broker(),
            _ => world.pass(dice.roll(3_000) as u64),
        }
    }

    fn forget_classic(&mut self, at: usize) {
        self.classics[at] = None;
        self.waiting.retain(|(place, _)| *place != at);
    }

    /// Everybody says that it is alive and does what it is told.
    fn round(&mut self, world: &mut World, dice: &mut Dice) {
        let first = dice.roll(2 * PLACES);
        for n in 0..2 * PLACES {
            let at = (first + n) % (2 * PLACES);
            match at.checked_sub(PLACES) {
                None => self.consumer_acts(world, at),
                Some(at) => self.classic_acts(world, at),
            }
            while self.hear(world) {}
            self.check();
        }
        world.pass(1_000 + dice.roll(500) as u64);
    }

    fn consumer_acts(&mut self, world: &mut World, at: usize) {
        let Some(client) = &mut self.consumers[at] else { return };
        let beat = if client.epoch == 0 { client.joins(&["t"]) } else { client.tells() };
        match world.send(beat) {
            Ok(answer) => client.take(&answer),
            Err(_) => {
                client.epoch = 0;
                client.owned.clear();
            }
        }
    }

    fn classic_acts(&mut self, world: &mut World, at: usize) {
        let Some(client) = &mut self.classics[at] else { return };
        if self.waiting.iter().any(|(place, _)| *place == at) {
            return;
        }
        if client.generation >= 0 {
            match world.classic_beat(client) {
                ErrorCode::None => return,
                ErrorCode::UnknownMemberId => client.generation = -1,
                _ => {}
            }
        }
        client.owned.clear();
        let ticket = world.begin_join(client);
        self.waiting.push((at, ticket));
    }

    /// Takes answers to joins, and syncs; takes answers to syncs. Says whether there were any.
    fn hear(&mut self, world: &mut World) -> bool {
        let mut has_heard = false;
        for (at, ticket) in std::mem::take(&mut self.waiting) {
            let Some(client) = &mut self.classics[at] else { continue };
            let sync = match world.replies.remove(&ticket) {
                Some(Response::Join(joined)) => joins_answered(client, &joined),
                Some(Response::Sync(synced)) => {
                    if synced.error == ErrorCode::None {
                        client.owned = partitions(&synced.assignment);
                    }
                    None
                }
                Some(other) => panic!("not the answer to a join or a sync: {other:?}"),
                None => {
                    self.waiting.push((at, ticket));
                    continue;
                }
            };
            has_heard = true;
            if let Some(sync) = sync {
                let ticket = world.begin(Request::Sync(GROUP.into(), sync));
                self.waiting.push((at, ticket));
            }
        }
        has_heard
    }

    fn owned(&self) -> Vec<i32> {
        let classics = self.classics.iter().flatten().flat_map(|client| client.owned.clone());
        let consumers = self.consumers.iter().flatten().flat_map(|client| client.has(T));
        let mut all: Vec<i32> = classics.chain(consumers).collect();
        all.sort_unstable();
        all
    }

    #[track_caller]
    fn check(&self) {
        let mut all = self.owned();
        let n = all.len();
        all.dedup();
        let (classics, consumers) = (&self.classics, &self.consumers);
        assert_eq!(all.len(), n, "a partition has two owners: {classics:?} {consumers:?}");
    }
}

/// The sync that follows a join. A leader gives each an equal part.
fn joins_answered(client: &mut Classic, joined: &Joined) -> Option<SyncRequest> {
    match joined.error {
        ErrorCode::None => client.generation = joined.generation_id.0,
        ErrorCode::UnknownMemberId => {
            client.generation = -1;
            return None;
        }
        // It joins again with the id that it has.
        _ => return None,
    }
    let n = joined.members.len().max(1);
    let part = |i: usize| (0..PARTITIONS).filter(|p| *p as usize % n == i).collect::<Vec<_>>();
    let members = joined.members.iter().enumerate();
    let assignments = members.map(|(i, m)| (m.member_id.clone(), assignment(&part(i), None)));
    Some(SyncRequest { assignments: assignments.collect(), ..client.syncs() })
}

impl World {
    fn leave_quietly(&mut self, member_id: &Str) {
        let leaver = Leaver { member_id: member_id.clone(), instance_id: None };
        let left = self.ask(Request::Leave(GROUP.into(), vec![leaver]));
        assert!(matches!(left, Response::Leave(_)));
    }

    /// Another broker loads the log; who waited is told so.
    fn change_broker(&mut self) {
        let mut actions = crate::Actions::default();
        self.shard.on_unload(&mut actions);
        self.act(actions);
        self.reload();
    }
}

#[test]
fn whatever_members_of_both_protocols_do_no_partition_has_two_owners() {
    let (mut were_classic, mut were_consumer) = (0, 0);
    for seed in 1..=300_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut world = world(PARTITIONS, "bidirectional");
        let mut clients = Clients::default();
        for _ in 0..ROUNDS {
            clients.change(&mut world, &mut dice);
            clients.round(&mut world, &mut dice);
            were_classic += usize::from(world.shard.group(GROUP).is_some());
            were_consumer += usize::from(world.shard.consumer_group(GROUP).is_some());
        }
        for _ in 0..60 {
            clients.round(&mut world, &mut dice);
        }
        let is_on = clients.classics.iter().any(Option::is_some)
            || clients.consumers.iter().any(Option::is_some);
        let all: Vec<i32> = if is_on { (0..PARTITIONS).collect() } else { Vec::new() };
        assert_eq!(
            clients.owned(),
            all,
            "seed {seed}: {:?} {:?}",
            clients.classics,
            clients.consumers
        );
    }
    assert!(were_classic > 1_000 && were_consumer > 1_000, "{were_classic}, {were_consumer}");
}
