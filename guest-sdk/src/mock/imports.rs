//! What the agent offers rules, answered by the mock of this thread: the same functions as in `bindings`.

/// As `bindings::brokerwarden::rule::snapshot`.
pub(crate) mod snapshot {
    use crate::{
        Error, Sample,
        bindings::brokerwarden::rule::snapshot::Series,
        mock::{
            Mock, ask,
            kafka::{Kafka, page},
            series::Selector,
        },
        snapshot::{Group, LagColumns, LagFilter, Ownership, Pattern, Point, Target, TopicLag},
    };

    fn kafka(mock: &Mock) -> Result<&Kafka, Error> {
        mock.kafka.as_ref().ok_or_else(|| Error::Unavailable("Kafka was not observed lately".to_owned()))
    }

    pub(crate) fn query(selector: &str) -> Result<Vec<Sample>, Error> {
        ask(|mock| mock.query(selector))
    }

    impl Mock {
        pub(in crate::mock) fn query(&self, text: &str) -> Result<Vec<Sample>, Error> {
            let selector = Selector::parse(text)?;
            let is_kafka = |name: &str| {
                ["kafka_topic_", "kafka_consumergroup_", "kafka_broker"].iter().any(|p| name.starts_with(p))
            };
            if selector.name().is_some_and(is_kafka) {
                kafka(self)?;
            }
            if self.targets.iter().any(|target| !target.up && target.name != "kafka") {
                return Err(Error::Unavailable("a JMX page was not observed lately".to_owned()));
            }
            Ok(self.samples.iter().filter(|sample| selector.finds(sample)).cloned().collect())
        }
    }

    pub(crate) fn topic_lags(filter: &LagFilter) -> Result<Vec<TopicLag>, Error> {
        ask(|mock| kafka(mock)?.topic_lags(filter))
    }

    pub(crate) fn lag_table(filter: &LagFilter) -> Result<LagColumns, Error> {
        ask(|mock| kafka(mock)?.lag_table(filter))
    }

    pub(crate) fn history(filter: &LagFilter, since_ms: u64) -> Result<Vec<Series>, Error> {
        ask(|mock| {
            // As in the agent, the past begins when somebody asks for it.
            mock.asked_for_history = true;
            mock.look_at_kafka();
            let rows = page(kafka(mock)?.filtered(filter)?, filter);
            let series = |row: &crate::mock::Row| {
                let same = |other: &&crate::mock::Row| {
                    (&other.group, &other.topic, other.partition) == (&row.group, &row.topic, row.partition)
                };
                let past = mock.past.iter().filter(|(at, _)| *at >= since_ms);
                let points = past.filter_map(|(at_ms, rows)| {
                    let row = rows.iter().find(same)?;
                    Some(Point { at_ms: *at_ms, committed: row.committed, log_end: row.log_end })
                });
                Series {
                    group: row.group.clone(),
                    topic: row.topic.clone(),
                    partition: row.partition,
                    points: points.collect(),
                }
            };
            Ok(rows.into_iter().map(series).collect())
        })
    }

    pub(crate) fn groups(names: &[Pattern]) -> Result<Vec<Group>, Error> {
        ask(|mock| kafka(mock)?.groups(names))
    }

    pub(crate) fn owns(group: &str) -> Ownership {
        ask(|mock| mock.kafka.as_ref().map_or(Ownership::Unknown, |kafka| kafka.owner(group)))
    }

    pub(crate) fn targets() -> Vec<Target> {
        ask(|mock| mock.targets.clone())
    }
}

/// As `bindings::brokerwarden::rule::state`.
pub(crate) mod state {
    use crate::{Error, mock::ask};

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        ask(|mock| mock.state.get(key).cloned())
    }

    /// The default of `limits.state`, in bytes, and what the agent counts for each key besides its text.
    const QUOTA: usize = 1 << 20;
    const KEY_COST: usize = 64;

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        ask(|mock| {
            let others = mock.state.iter().filter(|(other, _)| *other != key);
            let bytes = others.map(|(key, value)| key.len() + KEY_COST + value.len()).sum::<usize>();
            if bytes + key.len() + KEY_COST + value.len() > QUOTA {
                return Err(Error::LimitExceeded(format!("state would be over {QUOTA} bytes")));
            }
            mock.state.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn remove(key: &str) {
        ask(|mock| drop(mock.state.remove(key)));
    }

    pub(crate) fn keys(prefix: &str) -> Vec<String> {
        ask(|mock| mock.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}

/// As `bindings::brokerwarden::rule::logging`.
pub(crate) mod logging {
    use crate::{logging::Level, mock::ask};

    pub(crate) fn log(level: Level, message: &str) {
        ask(|mock| mock.log.push((level, message.to_owned())));
    }
}

/// As `bindings::brokerwarden::rule::rates`.
pub(crate) mod rates {
    use crate::{
        Error, Sample,
        mock::{Mock, ask},
    };

    pub(crate) fn rate(selector: &str, window_ms: u64) -> Result<Vec<Sample>, Error> {
        ask(|mock| {
            mock.query(selector)?;
            if !mock.looks.contains_key(selector) {
                mock.looks.insert(selector.to_owned(), Vec::new());
                mock.look_at(selector);
            }
            mock.rate(selector, window_ms)
        })
    }

    impl Mock {
        /// Keeps what a selector finds now.
        pub(in crate::mock) fn look_at(&mut self, selector: &str) {
            let (now_ms, found) = (self.now_ms, self.query(selector));
            if let (Some(looks), Ok(found)) = (self.looks.get_mut(selector), found) {
                looks.retain(|(at, _)| *at != now_ms);
                looks.push((now_ms, found));
            }
        }

        fn rate(&self, selector: &str, window_ms: u64) -> Result<Vec<Sample>, Error> {
            let since = self.now_ms.saturating_sub(window_ms);
            let looks: Vec<_> = self.looks.get(selector).into_iter().flatten().filter(|(at, _)| *at >= since).collect();
            let first = looks.first().map_or(self.now_ms, |(at, _)| *at);
            if self.now_ms.saturating_sub(first) < window_ms / 2 {
                return Err(Error::Unavailable("seen for less than half of the window".to_owned()));
            }
            let Some((_, newest)) = looks.last() else { return Ok(Vec::new()) };
            let rate = |sample: &Sample| {
                let seen: Vec<(u64, f64)> = looks
                    .iter()
                    .filter_map(|(at, found)| Some((*at, found.iter().find(|s| s.labels == sample.labels)?.value)))
                    .collect();
                let ((first, _), (last, _)) = (seen.first()?, seen.last()?);
                let pairs = seen.iter().zip(seen.iter().skip(1));
                let increase: f64 = pairs.map(|((_, old), (_, new))| if new < old { *new } else { new - old }).sum();
                let seconds = crate::Period::of_milliseconds(last.saturating_sub(*first)).seconds();
                (seconds > 0.0).then(|| Sample { labels: sample.labels.clone(), value: increase / seconds })
            };
            Ok(newest.iter().filter_map(rate).collect())
        }
    }
}

/// As `bindings::brokerwarden::rule::own_alerts`.
pub(crate) mod own_alerts {
    use crate::{mock::ask, own_alerts::ActiveAlert};

    pub(crate) fn active() -> Vec<ActiveAlert> {
        ask(|mock| mock.active.clone())
    }
}

/// As `bindings::brokerwarden::rule::own_actions`.
pub(crate) mod own_actions {
    use crate::{mock::ask, own_actions::OwnAction};

    pub(crate) fn recent() -> Vec<OwnAction> {
        ask(|mock| mock.actions.clone())
    }
}

/// As `bindings::brokerwarden::rule::time`.
pub(crate) mod time {
    use crate::{Error, mock::ask, time::CivilTime};

    const DAY: i64 = 86_400;

    pub(crate) fn in_zone(zone: &str, at_ms: u64) -> Result<CivilTime, Error> {
        let offset = ask(|mock| mock.zones.get(zone).copied());
        let offset = offset.ok_or_else(|| Error::InvalidArgument(format!("there is no zone {zone:?}")))?;
        civil(i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX).saturating_add(i64::from(offset)), offset)
            .ok_or_else(|| Error::InvalidArgument("a time that has no year".to_owned()))
    }

    /// Source of the days' algorithm: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    fn civil(seconds: i64, utc_offset_seconds: i32) -> Option<CivilTime> {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let shifted = days.checked_add(719_468)?;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era.checked_mul(400)? + i64::from(month <= 2);
        let small = |number: i64| u8::try_from(number).ok();
        Some(CivilTime {
            year: i32::try_from(year).ok()?,
            month: small(month)?,
            day: small(day)?,
            // The first day of 1970 was a Thursday.
            weekday: small((days + 3).rem_euclid(7) + 1)?,
            hour: small(second / 3_600)?,
            minute: small(second / 60 % 60)?,
            second: small(second % 60)?,
            utc_offset_seconds,
        })
    }
}
