//! The form of the report as JSON Schema, generated from its types, for programs that read it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::MatrixReport;

/// The schema, a draft 2020-12 document. Fields that later versions added are not required, so that it holds for every report
/// that this ccsmoke reads.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<MatrixReport>().to_value()
}

/// The schema as the file that is kept in `docs/`.
pub fn document() -> String {
    format!("{:#}\n", schema())
}
