//! What operators of all kinds have in common.

use super::Builder;
use crate::pipeline::{InputBinding, OperatorId, Producer, Stream, StreamId};
use crate::tree::Path;

impl Builder<'_> {
    /// Notes a mistake for each field that is given and goes with another kind of operator.
    pub(super) fn belongs(&mut self, path: &Path, fields: &[(&str, bool)], with: &str) {
        for (field, _) in fields.iter().filter(|(_, is_given)| *is_given) {
            let message = format!("`{field}` goes with `{with}`");
            self.wrong(&path.key(field), &message, Some("remove it"));
        }
    }

    /// The keys of several streams meet only if they have the same types.
    pub(super) fn equal_keys(&mut self, path: &Path, inputs: &[InputBinding]) {
        let types = |input: &InputBinding| {
            let schema = &self.streams[input.stream.0].schema;
            let of = |column: &usize| {
                let field = schema.field(*column);
                (field.data_type().clone(), field.is_nullable())
            };
            input.key_columns.iter().map(of).collect::<Vec<_>>()
        };
        let Some((first, others)) = inputs.split_first() else {
            return;
        };
        let wanted = types(first);
        if others.iter().any(|other| types(other) != wanted) {
            let message = "the key columns of the streams have different types";
            let remedy = "declare them alike, null included";
            self.wrong(&path.key("key-by"), message, Some(remedy));
        }
    }

    /// Streams that change what they said are refused where each row counts by itself.
    pub(super) fn no_changelog(&mut self, path: &Path, streams: &[StreamId], reader: &str) {
        let is_changelog = |id: &&StreamId| self.streams[id.0].is_changelog;
        let Some(stream) = streams.iter().find(is_changelog) else {
            return;
        };
        let name = self.streams[stream.0].name.clone();
        let message = format!("`{name}` corrects its rows, and {reader} takes each by itself");
        let remedy = match self.is_read(*stream) {
            true => "only sinks and plugins that say so take a source's changes".into(),
            false => format!("use `corrections: revisions` at `{name}`"),
        };
        self.wrong(&path.key("input"), &message, Some(&remedy));
    }

    /// A sink that shows no kinds of change would show corrections as rows of their own.
    pub(in crate::pipeline) fn append_only(&mut self, path: &Path, streams: &[StreamId]) {
        let is_changelog = |id: &&StreamId| self.streams[id.0].is_changelog;
        let Some(stream) = streams.iter().find(is_changelog) else {
            return;
        };
        let name = self.streams[stream.0].name.clone();
        let message = format!("`{name}` corrects its rows, and the sink only adds rows");
        let show = "show the kind of change with `include: { op: op }`";
        let remedy = match self.is_read(*stream) {
            true => format!("{show}, or write a topic with `upsert: true`"),
            false => format!("{show}, or use `corrections: revisions` at `{name}`"),
        };
        self.wrong(&path.key("input"), &message, Some(&remedy));
    }

    /// Whether a stream comes from a source as it is.
    fn is_read(&self, stream: StreamId) -> bool {
        let producer = &self.streams[stream.0].producer;
        matches!(producer, Producer::Source(_) | Producer::SourceLate(_))
    }

    /// Adds the stream of an operator's late rows; none if its streams have different columns.
    pub(super) fn late_stream(
        &mut self,
        (id, name): (OperatorId, &str),
        inputs: &[StreamId],
    ) -> Option<StreamId> {
        let first = &self.streams[inputs.first()?.0];
        let alike = |id: &StreamId| self.streams[id.0].schema == first.schema;
        if !inputs.iter().all(alike) {
            return None;
        }
        let late = Stream {
            name: format!("{name}.late"),
            schema: first.schema.clone(),
            has_time: true,
            is_changelog: false,
            producer: Producer::OperatorLate(id),
        };
        Some(self.stream(late))
    }
}
