//! The two programs that run in the store, what they are given, and what they reply.
//!
//! | program | key | does |
//! |---|---|---|
//! | `gcra.lua` | `dk1:{name}:l:quota` | takes cells from a quota, and says what is owed |
//! | `points.lua` | `dk1:{name}:p` | lets points fade, adds to them, and says how many there are |

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use super::message::{Debit, GROUPS, Gain, Name, PerGroup};

const GCRA: &str = include_str!("gcra.lua");
const POINTS: &str = include_str!("points.lua");

/// The hashes by which the store knows the programs, in its own words.
#[derive(Debug)]
pub(super) struct Scripts {
    gcra: String,
    points: String,
}

impl Scripts {
    /// Hands the programs over. A store forgets them when it starts, and when another one takes its place.
    pub(super) async fn load(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut pipe = redis::pipe();
        pipe.cmd("SCRIPT").arg("LOAD").arg(GCRA).cmd("SCRIPT").arg("LOAD").arg(POINTS);
        let (gcra, points): (String, String) = pipe.query_async(connection).await?;
        Ok(Self { gcra, points })
    }

    /// Cells that are `gone` count whatever is left of the quota; others are asked for.
    pub(super) fn debit(&self, pipe: &mut Pipeline, name: Name, debit: &Debit, gone: bool) {
        let (every, burst, cost) = debit.arguments();
        pipe.cmd("EVALSHA").arg(&self.gcra).arg(1).arg(debit.key(name)).arg(every).arg(burst).arg(cost);
        pipe.arg(u8::from(gone));
    }

    pub(super) fn gain(&self, pipe: &mut Pipeline, name: Name, gain: &Gain) {
        pipe.cmd("EVALSHA").arg(&self.points).arg(1).arg(format!("dk1:{{{name}}}:p"));
        let told = gain.most.iter().zip(&gain.level).zip(&gain.added);
        for (group, ((most, level), added)) in GROUPS.iter().zip(told) {
            // Groups that are shared fade, all of them.
            let half_life = u64::from(group.half_life().unwrap_or(1)) * 1_000;
            pipe.arg(half_life).arg(*most).arg(*level).arg(*added);
        }
    }
}

/// The store has forgotten the programs.
pub(super) fn are_lost(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// What the store says to a debit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    /// It would have refused: the time to wait.
    pub(super) wait: Option<Duration>,
    /// The time in which all that is owed is paid back.
    pub(super) debt: Duration,
}

impl Owed {
    pub(super) fn of(reply: Value) -> Option<Self> {
        let [admitted, wait, debt] = numbers(reply)?;
        let time = |us: i64| u64::try_from(us).ok().map(Duration::from_micros);
        Some(Self { wait: if admitted == 0 { Some(time(wait)?) } else { None }, debt: time(debt)? })
    }
}

/// The points that the store holds now.
pub(super) fn points(reply: Value) -> Option<PerGroup> {
    Some(numbers::<{ GROUPS.len() }>(reply)?.map(|thousandths| thousandths.max(0) as f32 / 1_000.0))
}

fn numbers<const N: usize>(reply: Value) -> Option<[i64; N]> {
    redis::from_redis_value::<Vec<i64>>(reply).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::suspicion::cells::CellKey;
    use crate::suspicion::{Quota, Subject};

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect())
    }

    #[test]
    fn replies_are_read_and_odd_ones_are_none() {
        let second = Duration::from_secs(1);
        assert_eq!(Owed::of(reply(&[1, 0, 1_000_000])), Some(Owed { wait: None, debt: second }));
        let refused = Owed { wait: Some(Duration::from_micros(892_274)), debt: second };
        assert_eq!(Owed::of(reply(&[0, 892_274, 1_000_000])), Some(refused));
        assert_eq!(points(reply(&[30_000, 0, 500, 21_499])), Some([30.0, 0.0, 0.5, 21.499]));
        for odd in [reply(&[1, 0]), reply(&[1, 0, -5]), Value::Nil, Value::Okay] {
            assert_eq!(Owed::of(odd), None);
        }
        assert_eq!(points(reply(&[1, 2, 3])), None);
    }

    #[test]
    fn no_command_names_a_visitor() {
        let scripts = Scripts { gcra: "aa".to_owned(), points: "bb".to_owned() };
        let name = Name::of(&[7; 32], Subject::Visitor(b"203.0.113.9/32\0curl/8.5.0\0\0"));
        let debit = Debit::new("page_hard", Quota::new(500, 120), NonZeroU32::MIN, CellKey(3));
        let gain = Gain {
            level: [0.0, 15.0, 0.0, 0.0],
            added: [6.0, 0.0, 0.0, 0.0],
            most: [30.0, 50.0, 100.0, 40.0],
            record: CellKey(3),
            first: true,
        };
        let mut pipe = redis::pipe();
        scripts.debit(&mut pipe, name, &debit, true);
        scripts.gain(&mut pipe, name, &gain);
        let words = pipe.get_packed_pipeline();
        let text = String::from_utf8(words).unwrap();
        assert!(!text.contains("203.0") && !text.contains("curl"));
        let words: Vec<&str> =
            text.split("\r\n").filter(|word| !word.starts_with(['*', '$']) && !word.is_empty()).collect();
        let (key, of_points) = (format!("dk1:{{{name}}}:l:page_hard"), format!("dk1:{{{name}}}:p"));
        assert_eq!(words[..8], ["EVALSHA", "aa", "1", &key, "500000", "120", "1", "1"]);
        assert_eq!(words[8..12], ["EVALSHA", "bb", "1", &of_points]);
        let numbers: Vec<f32> = words[12..].iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(numbers[..8], [300_000.0, 30.0, 0.0, 6.0, 1_800_000.0, 50.0, 15.0, 0.0]);
        assert_eq!(numbers.len(), 4 * GROUPS.len());
    }
}
