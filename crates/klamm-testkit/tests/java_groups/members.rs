//! Members in processes of Kafka's Java client: what each got, gave back, lost and read, by group,
//! and whether ever two had the same partition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use klamm_testkit::Process;

/// A partition as clients name it.
pub(crate) type Place = String;

/// Milliseconds since 1970, as the members tell them.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it fits")
}

/// A process with a member of each group.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    killed_at_ms: Option<i64>,
}

/// What a member says.
#[derive(Debug, Clone)]
enum Event {
    Got { at_ms: i64, places: Vec<Place> },
    GaveBack { at_ms: i64, places: Vec<Place> },
    Lost { at_ms: i64, places: Vec<Place> },
    Read(Vec<usize>),
}

impl Event {
    fn parse(line: &str, group: &str) -> Option<Self> {
        let mut words = line.strip_prefix(group)?.split_whitespace();
        let kind = words.next()?;
        if kind == "=" {
            return Some(Self::Read(words.map(|word| word.parse().expect("a value")).collect()));
        }
        let at_ms = words.next()?.parse().expect("a time");
        let places = words.map(str::to_owned).collect();
        match kind {
            "+" => Some(Self::Got { at_ms, places }),
            "-" => Some(Self::GaveBack { at_ms, places }),
            "!" => Some(Self::Lost { at_ms, places }),
            other => panic!("{other:?} in {line:?}"),
        }
    }
}

/// How a member stopped having a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has it.
    None,
    /// It gave it back, or died.
    InOrder,
    /// It was told too late: others may have had it before.
    Lost,
}

/// From when to when a member had a partition.
#[derive(Debug, Clone)]
struct Ownership {
    #[expect(dead_code, reason = "for whoever reads the assertion")]
    member: &'static str,
    from_ms: i64,
    until_ms: i64,
    end: End,
}

impl Member {
    pub(crate) fn new(name: &'static str, process: Process) -> Self {
        Self { name, process, killed_at_ms: None }
    }

    /// `kill -9`: what it had is free from here on.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
        self.killed_at_ms = Some(now_ms());
    }

    fn events(&self, group: &str) -> impl Iterator<Item = Event> {
        let events = self.process.stdout.all();
        let events = events.iter().filter_map(|line| Event::parse(line, group));
        events.collect::<Vec<_>>().into_iter()
    }

    /// What it has of a group now.
    pub(crate) fn has(&self, group: &str) -> BTreeSet<Place> {
        let mut has = BTreeSet::new();
        for event in self.events(group) {
            match event {
                Event::Got { places, .. } => has.extend(places),
                Event::GaveBack { places, .. } | Event::Lost { places, .. } => {
                    has.retain(|place| !places.contains(place));
                }
                Event::Read(_) => {}
            }
        }
        has
    }

    /// What it has read of a group.
    pub(crate) fn read(&self, group: &str) -> Vec<usize> {
        let read = |event| if let Event::Read(values) = event { values } else { Vec::new() };
        self.events(group).flat_map(read).collect()
    }

    fn ownerships(&self, group: &str) -> Vec<(Place, Ownership)> {
        let mut open = BTreeMap::<Place, i64>::new();
        let mut all = Vec::new();
        let mut close = |places: Vec<Place>, open: &mut BTreeMap<Place, i64>, until_ms, end| {
            for place in places {
                if let Some(from_ms) = open.remove(&place) {
                    let member = self.name;
                    all.push((place, Ownership { member, from_ms, until_ms, end }));
                }
            }
        };
        for event in self.events(group) {
            match event {
                Event::Got { at_ms, places } => {
                    for place in places {
                        open.insert(place, at_ms);
                    }
                }
                Event::GaveBack { at_ms, places } => close(places, &mut open, at_ms, End::InOrder),
                Event::Lost { at_ms, places } => close(places, &mut open, at_ms, End::Lost),
                Event::Read(_) => {}
            }
        }
        let left: Vec<Place> = open.keys().cloned().collect();
        match self.killed_at_ms {
            Some(at_ms) => close(left, &mut open, at_ms, End::InOrder),
            None => close(left, &mut open, i64::MAX, End::None),
        }
        all
    }
}

/// No partition had two owners at once. Gives how many ownerships there were.
#[track_caller]
pub(crate) fn check_owners(members: &[Member], group: &str) -> usize {
    let mut by_place = BTreeMap::<Place, Vec<Ownership>>::new();
    for (place, ownership) in members.iter().flat_map(|member| member.ownerships(group)) {
        by_place.entry(place).or_default().push(ownership);
    }
    for (place, ownerships) in &mut by_place {
        ownerships.sort_by_key(|ownership| ownership.from_ms);
        for pair in ownerships.windows(2) {
            let is_free = pair[0].until_ms <= pair[1].from_ms || pair[0].end == End::Lost;
            assert!(is_free, "{group}: {place} has two owners: {pair:#?}");
        }
    }
    by_place.values().map(Vec::len).sum()
}
