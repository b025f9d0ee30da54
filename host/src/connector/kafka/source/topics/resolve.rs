//! Where each partition goes on when a job begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wasmill_core::pipeline::document::KafkaStart;

use super::{KafkaError, Opening, Place, Topics, is_split, split_name};
use crate::{connector::Position, spawn};

/// How often ends are asked for that seem to lie before what has been read, and how long after the
/// last time.
const END_LOOKS: u32 = 10;
const END_PAUSE: Duration = Duration::from_millis(300);

impl Topics {
    /// The partitions at the start, and where each goes on.
    pub(super) fn resolve(
        &self,
        opening: &Opening<'_>,
    ) -> Result<Vec<(Place, Position)>, KafkaError> {
        let places = self.look()?;
        let asking = self.asking();
        let known = |place: &Place| opening.known.get(&split_name(&place.0, place.1)).copied();
        self.check_known(opening, &places)?;
        let going_on: Vec<(Place, Position)> = places
            .iter()
            .filter_map(|place| Some((place.clone(), known(place)?)))
            .filter(|(_, position)| !position.is_end)
            .collect();
        self.check_range(&going_on)?;
        let new = places.iter().filter(|place| known(place).is_none());
        // What is made later is read from its beginning, and no part of what was to be read.
        let (late, first): (Vec<Place>, Vec<Place>) = new.cloned().partition(|(topic, _)| {
            let prefix = format!("{topic}/");
            let has_known = opening.known.keys().any(|name| name.starts_with(&prefix));
            opening.is_restored && (self.pattern.is_some() || has_known)
        });
        let mut begin = asking.start(&opening.document.start, &first)?;
        let mut ends = BTreeMap::new();
        if opening.document.stop.is_some() {
            ends = asking.ends(&first)?;
        } else {
            begin.extend(asking.start(&KafkaStart::Earliest, &late)?);
        }
        let mut number = self.next_split;
        let mut found = going_on;
        if opening.document.stop.is_some() {
            // The document did not say before that it ends.
            let endless = found.iter_mut().filter(|(_, at)| at.until.is_none());
            let mut endless: Vec<_> = endless.collect();
            let places: Vec<Place> = endless.iter().map(|(place, _)| place.clone()).collect();
            let now = asking.ends(&places)?;
            for (place, at) in &mut endless {
                at.until = now.get(place).map(|end| *end.max(&at.rows));
            }
        }
        for place in places {
            let Some(offset) = begin.get(&place) else {
                continue;
            };
            let position = Position {
                rows: *offset,
                until: ends.get(&place).map(|end| *end.max(offset)),
                ..Position::start(number)
            };
            number += 1;
            found.push((place, position));
        }
        Ok(found)
    }

    /// Partitions that a checkpoint knows must be there, unless the document does not want them.
    fn check_known(&self, opening: &Opening<'_>, places: &[Place]) -> Result<(), KafkaError> {
        let names: BTreeSet<String> = places
            .iter()
            .map(|(topic, partition)| split_name(topic, *partition))
            .collect();
        for (name, position) in &opening.known {
            let is_wanted = is_split(&self.document, name);
            if is_wanted && !position.is_end && !names.contains(name) {
                return Err(KafkaError::TopicGone {
                    split: name.clone(),
                    brokers: self.cluster.brokers.clone(),
                });
            }
        }
        Ok(())
    }

    /// The records to go on with must be there.
    fn check_range(&self, going_on: &[(Place, Position)]) -> Result<(), KafkaError> {
        let places: Vec<Place> = going_on.iter().map(|(place, _)| place.clone()).collect();
        let asking = self.asking();
        let (oldest, mut ends) = (asking.oldest(&places)?, asking.ends(&places)?);
        let is_beyond = |ends: &BTreeMap<Place, u64>| {
            let mut all = going_on.iter();
            all.any(|(place, at)| ends.get(place).is_some_and(|end| at.rows > *end))
        };
        // A broker that has just come up may not know yet how far its partitions are.
        let mut looks = 0;
        while is_beyond(&ends) && looks < END_LOOKS {
            spawn::pause(END_PAUSE);
            ends = asking.ends(&places)?;
            looks += 1;
        }
        for (place, position) in going_on {
            let range = oldest.get(place).zip(ends.get(place));
            if range.is_some_and(|(oldest, end)| !(*oldest..=*end).contains(&position.rows)) {
                return Err(KafkaError::OutOfRange {
                    split: split_name(&place.0, place.1),
                    offset: position.rows,
                    brokers: self.cluster.brokers.clone(),
                });
            }
        }
        Ok(())
    }
}
