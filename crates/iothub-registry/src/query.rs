//! Queries of twins and jobs.

use serde_json::json;

use crate::pages::{Ask, Pages};
use crate::registry::Registry;

impl Registry {
    /// Asks for twins and jobs, in the hub's query language (Azure docs, "IoT Hub query language"). What was just changed
    /// may not be found yet.
    ///
    /// # Examples
    /// ```
    /// # async fn example(registry: &iothub_registry::Registry) -> Result<(), iothub_registry::RegistryError> {
    /// let mut pages = registry.query("SELECT deviceId, tags.floor FROM devices WHERE tags.floor > 3").page_size(500);
    /// while let Some(page) = pages.next().await? {
    ///     for row in page.rows {
    ///         println!("{row}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn query(&self, text: &str) -> Pages {
        Pages::new(self.clone(), Ask::Query(json!({ "query": text })))
    }
}
