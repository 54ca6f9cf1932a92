//! The identity registry: devices and modules, one at a time.

use hyper::Method;
use iothub_address::{DeviceId, Identity, ModuleId};

use crate::error::RegistryError;
use crate::identity::{Device, Module};
use crate::if_match::IfMatch;
use crate::registry::Registry;
use crate::request::{Call, device_path, path_of};
use crate::retry::Safety;
use crate::wire;

impl Registry {
    /// A device, with its keys.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound), or as of every call.
    pub async fn device(&self, device: &DeviceId) -> Result<Device, RegistryError> {
        Ok(wire::read(self.ask(&Call::get(&device_path(device))).await?)?)
    }

    /// Registers a device, and gives it as it then is: with its keys.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceAlreadyExists`](crate::ErrorCode::DeviceAlreadyExists), or as of every call.
    pub async fn create_device(&self, device: &Device) -> Result<Device, RegistryError> {
        let call = Call::new(Method::PUT, &device_path(&device.device_id), Safety::Write);
        Ok(wire::read(self.ask(&call.json(&device.to_json())).await?)?)
    }

    /// Sets what a service may set of a device, all of it, if it is in this state. Keys that are left out stay.
    ///
    /// # Errors
    /// [`ErrorCode::PreconditionFailed`](crate::ErrorCode::PreconditionFailed) or
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound), or as of every call.
    pub async fn update_device(&self, device: &Device, state: &IfMatch) -> Result<Device, RegistryError> {
        let call = Call::new(Method::PUT, &device_path(&device.device_id), Safety::Write);
        let call = call.if_match(Some(state))?.json(&device.to_json());
        Ok(wire::read(self.ask(&call).await?)?)
    }

    /// Removes a device with its modules, its twin and what waits for it, if it is in this state.
    ///
    /// # Errors
    /// As [`update_device`](Self::update_device).
    pub async fn delete_device(&self, device: &DeviceId, state: &IfMatch) -> Result<(), RegistryError> {
        let call = Call::new(Method::DELETE, &device_path(device), Safety::Write);
        self.run(&call.if_match(Some(state))?).await.map(drop)
    }

    /// Some devices, in no promised order, with their keys: at most so many, 1 to 1,000, which is the default. Who wants all of
    /// them [queries](Self::query).
    ///
    /// # Errors
    /// As of every call.
    pub async fn devices(&self, top: Option<u16>) -> Result<Vec<Device>, RegistryError> {
        let call = Call::get("/devices");
        let call = match top {
            Some(top) => call.query("top", top.to_string()),
            None => call,
        };
        Ok(wire::read(self.ask(&call).await?)?)
    }

    /// A module, with its keys.
    ///
    /// # Errors
    /// [`ErrorCode::ModuleNotFound`](crate::ErrorCode::ModuleNotFound) or
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound), or as of every call.
    pub async fn module(&self, device: &DeviceId, module: &ModuleId) -> Result<Module, RegistryError> {
        let path = path_of("devices", &Identity::Module(device.clone(), module.clone()));
        Ok(wire::read(self.ask(&Call::get(&path)).await?)?)
    }

    /// Registers a module, and gives it as it then is: with its keys.
    ///
    /// # Errors
    /// [`ErrorCode::ModuleAlreadyExists`](crate::ErrorCode::ModuleAlreadyExists),
    /// [`ErrorCode::TooManyModules`](crate::ErrorCode::TooManyModules) over 50 of them, or as of every call.
    pub async fn create_module(&self, module: &Module) -> Result<Module, RegistryError> {
        let call = Call::new(
            Method::PUT,
            &path_of("devices", &module.identity()),
            Safety::Write,
        );
        Ok(wire::read(self.ask(&call.json(&module.to_json())).await?)?)
    }

    /// Sets what a service may set of a module, all of it, if it is in this state. Keys that are left out stay.
    ///
    /// # Errors
    /// As [`update_device`](Self::update_device).
    pub async fn update_module(&self, module: &Module, state: &IfMatch) -> Result<Module, RegistryError> {
        let path = path_of("devices", &module.identity());
        let call = Call::new(Method::PUT, &path, Safety::Write);
        let call = call.if_match(Some(state))?.json(&module.to_json());
        Ok(wire::read(self.ask(&call).await?)?)
    }

    /// Removes a module with its twin, if it is in this state.
    ///
    /// # Errors
    /// As [`update_device`](Self::update_device).
    pub async fn delete_module(
        &self,
        device: &DeviceId,
        module: &ModuleId,
        state: &IfMatch,
    ) -> Result<(), RegistryError> {
        let path = path_of("devices", &Identity::Module(device.clone(), module.clone()));
        let call = Call::new(Method::DELETE, &path, Safety::Write);
        self.run(&call.if_match(Some(state))?).await.map(drop)
    }

    /// The modules of a device, at most 50, with their keys.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound), or as of every call.
    pub async fn modules(&self, device: &DeviceId) -> Result<Vec<Module>, RegistryError> {
        let path = format!("{}/modules", device_path(device));
        Ok(wire::read(self.ask(&Call::get(&path)).await?)?)
    }
}
