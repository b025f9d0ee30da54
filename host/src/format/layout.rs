//! Declared columns as a tree of fields, with a column builder for each.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use wasmill_core::{
    pipeline::{ColumnSpec, document::TimestampStyle},
    spelling,
};

use super::{FormatError, column::Column, scalar::Kind};

/// What stands at a place of the tree.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Scalar(Kind),
    /// A list of the node's values.
    List(usize),
    /// An object that is a column of its own.
    Struct(Vec<usize>),
    /// An object that only leads to columns.
    Path(Vec<usize>),
}

/// A field of the tree; its number is also its column's.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The field's name in its object.
    pub(crate) name: String,
    /// The path for messages.
    pub(crate) place: String,
    pub(crate) shape: Shape,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    /// The default as JSON.
    pub(crate) default: Option<Arc<[u8]>>,
}

/// The tree; node 0 is the record itself.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) nodes: Vec<Node>,
    /// The node of each declared column.
    pub(crate) roots: Vec<usize>,
    pub(crate) schema: SchemaRef,
}

impl Layout {
    pub(crate) fn new(
        columns: &[ColumnSpec],
        timestamps: TimestampStyle,
    ) -> Result<Self, FormatError> {
        let record = Node {
            name: String::new(),
            place: String::new(),
            shape: Shape::Path(Vec::new()),
            data_type: DataType::Null,
            nullable: false,
            default: None,
        };
        let mut layout = Self {
            nodes: vec![record],
            roots: Vec::new(),
            schema: Arc::new(Schema::empty()),
        };
        for spec in columns {
            let own = std::slice::from_ref(spec.field.name());
            let path = if spec.path.is_empty() {
                own
            } else {
                &spec.path
            };
            let (name, parents) = path.split_last().expect("an empty path was replaced");
            let parent = parents
                .iter()
                .try_fold(0, |at, name| layout.descend(at, name, spec))?;
            let timestamps = spec.timestamp.unwrap_or(timestamps);
            let node = layout.add(parent, name, &spec.field, timestamps)?;
            if let Some(value) = &spec.default {
                layout.nodes[node].default = Some(value.to_string().into_bytes().into());
            }
            layout.attach(parent, node, spec)?;
            layout.roots.push(node);
        }
        let fields: Vec<Field> = columns.iter().map(|spec| spec.field.clone()).collect();
        layout.schema = Arc::new(Schema::new(fields));
        Ok(layout)
    }

    /// The inner node `name` of `at`, made if there is none.
    fn descend(&mut self, at: usize, name: &str, spec: &ColumnSpec) -> Result<usize, FormatError> {
        let found = self.child(at, name);
        if let Some(node) = found {
            return match self.nodes[node].shape {
                Shape::Path(_) => Ok(node),
                _ => Err(taken(&self.nodes[node].place, spec)),
            };
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            name: name.into(),
            place: self.place(at, name),
            shape: Shape::Path(Vec::new()),
            data_type: DataType::Null,
            nullable: false,
            default: None,
        });
        self.attach(at, node, spec)?;
        Ok(node)
    }

    fn attach(&mut self, parent: usize, node: usize, spec: &ColumnSpec) -> Result<(), FormatError> {
        if self.child(parent, &self.nodes[node].name).is_some() {
            return Err(taken(&self.nodes[node].place, spec));
        }
        if let Shape::Path(children) = &mut self.nodes[parent].shape {
            children.push(node);
        }
        Ok(())
    }

    fn child(&self, at: usize, name: &str) -> Option<usize> {
        let (Shape::Path(children) | Shape::Struct(children)) = &self.nodes[at].shape else {
            return None;
        };
        children
            .iter()
            .copied()
            .find(|child| self.nodes[*child].name == name)
    }

    fn place(&self, at: usize, name: &str) -> String {
        match self.nodes[at].place.as_str() {
            "" => name.into(),
            place => format!("{place}.{name}"),
        }
    }

    /// Adds a value's node and those below it; it is not yet anybody's child.
    fn add(
        &mut self,
        parent: usize,
        name: &str,
        field: &Field,
        timestamps: TimestampStyle,
    ) -> Result<usize, FormatError> {
        let node = self.nodes.len();
        let place = self.place(parent, name);
        self.nodes.push(Node {
            name: name.into(),
            place: place.clone(),
            shape: Shape::Path(Vec::new()),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            default: None,
        });
        self.nodes[node].shape = match field.data_type() {
            DataType::List(item) => Shape::List(self.add(node, "[]", item, timestamps)?),
            DataType::Struct(fields) => {
                let children: Result<_, _> = fields
                    .iter()
                    .map(|field| self.add(node, field.name(), field, timestamps))
                    .collect();
                Shape::Struct(children?)
            }
            other => {
                Shape::Scalar(
                    Kind::of(other, timestamps).ok_or_else(|| FormatError::Type {
                        place,
                        data_type: other.to_string(),
                    })?,
                )
            }
        };
        Ok(node)
    }

    /// Whether there is something to put where a writer's schema, which has fields of these names,
    /// lacks that of a node.
    pub(crate) fn may_lack(&self, node: usize, names: &[&str]) -> Result<(), String> {
        let this = &self.nodes[node];
        if let Shape::Path(children) = &this.shape {
            return children.iter().try_for_each(|it| self.may_lack(*it, names));
        }
        if this.nullable || this.default.is_some() {
            return Ok(());
        }
        let near = spelling::nearest(&this.name, names.iter().copied());
        let near = near.map_or(String::new(), |near| format!(" but `{near}`"));
        Err(format!(
            "the schema has no field `{}`{near}: say the column's `path`, or declare it with `?` \
             or a `default`",
            this.place
        ))
    }

    /// A builder for each node; those of inner nodes only count.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let object = DataType::Struct(Vec::<Field>::new().into());
        let column =
            |data_type| Column::new(data_type).expect("types are checked when the layout is made");
        self.nodes
            .iter()
            .map(|node| match node.shape {
                Shape::Path(_) => column(&object),
                _ => column(&node.data_type),
            })
            .collect()
    }

    /// Takes back what lies behind the first `len` values of a node.
    pub(crate) fn truncate(&self, node: usize, len: usize, columns: &mut [Column]) {
        columns[node].truncate(len);
        match &self.nodes[node].shape {
            Shape::Scalar(_) => (),
            Shape::List(item) => {
                let super::column::Values::List(ends) = &columns[node].values else {
                    return;
                };
                let end = ends.last().map_or(0, |end| *end as usize);
                self.truncate(*item, end, columns);
            }
            Shape::Struct(children) | Shape::Path(children) => {
                for child in children {
                    self.truncate(*child, len, columns);
                }
            }
        }
    }

    /// The columns as a batch of `rows` rows; the builders are empty afterwards.
    pub(crate) fn finish(
        &self,
        rows: usize,
        columns: &mut [Column],
    ) -> Result<RecordBatch, ArrowError> {
        let arrays: Result<Vec<_>, _> = self
            .roots
            .iter()
            .map(|root| self.array(*root, columns))
            .collect();
        for (node, column) in self.nodes.iter().zip(columns) {
            if matches!(node.shape, Shape::Path(_)) {
                column.truncate(0);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays?, &options)
    }

    fn array(&self, node: usize, columns: &mut [Column]) -> Result<ArrayRef, ArrowError> {
        let children = match &self.nodes[node].shape {
            Shape::Scalar(_) | Shape::Path(_) => Vec::new(),
            Shape::List(item) => vec![self.array(*item, columns)?],
            Shape::Struct(children) => children
                .iter()
                .map(|child| self.array(*child, columns))
                .collect::<Result<_, _>>()?,
        };
        columns[node].finish(&self.nodes[node].data_type, children)
    }
}

fn taken(place: &str, spec: &ColumnSpec) -> FormatError {
    FormatError::Taken {
        place: place.into(),
        column: spec.field.name().clone(),
    }
}
