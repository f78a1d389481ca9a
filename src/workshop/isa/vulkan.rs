//! The calls of Vulkan that compile a compute shader and ask what became of it.
//!
//! wgpu cannot open a null device, so this goes beside it, by the crate that wgpu itself calls Vulkan with.
#![allow(unsafe_code, reason = "calls of Vulkan, which is a C interface; nothing of the crate's own goes through here")]

use crate::workshop::isa::reply::{Compiled, Reply};
use crate::workshop::isa::unit::Unit;
use ash::{ext, khr, vk};
use std::ffi::{CStr, CString, c_char};

/// What the null device's driver makes of each unit.
pub(super) fn compile(units: &[Unit]) -> Reply {
    // SAFETY: loads the system's Vulkan loader, which runs what libraries run when they are loaded, as wgpu does.
    let entry = match unsafe { ash::Entry::load() } {
        Ok(entry) => entry,
        Err(error) => return Reply::NoLoader(error.to_string()),
    };
    let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
    let info = vk::InstanceCreateInfo::default().application_info(&app);
    // SAFETY: the information outlives the call.
    let instance = match unsafe { entry.create_instance(&info, None) } {
        Ok(instance) => instance,
        Err(vk::Result::ERROR_INCOMPATIBLE_DRIVER) => return Reply::NoDriver(Vec::new()),
        Err(error) => return failed("Vulkan does not start", error),
    };
    let reply = match null_device(&instance) {
        Ok((physical, driver)) => match NullDevice::open(&instance, physical) {
            Ok(device) => {
                let compiled = units.iter().map(|unit| device.compile(unit));
                let compiled = compiled.collect();
                // SAFETY: what was made of the device has been destroyed, and nothing of it is used from here on.
                unsafe { device.device.destroy_device(None) };
                Reply::Compiled { driver, compiled }
            }
            Err(error) => failed("the null device does not open", error),
        },
        Err(reply) => reply,
    };
    // SAFETY: its device has been destroyed.
    unsafe { instance.destroy_instance(None) };
    reply
}

fn failed(what: &str, error: vk::Result) -> Reply {
    Reply::Failed(format!("{what} ({error})"))
}

/// RADV's device and the name of the driver with its version.
fn null_device(instance: &ash::Instance) -> Result<(vk::PhysicalDevice, String), Reply> {
    // SAFETY: the instance lives.
    let devices = unsafe { instance.enumerate_physical_devices() };
    let mut others = Vec::new();
    for physical in devices.map_err(|error| failed("devices cannot be listed", error))? {
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: the device is the instance's, and what is written to lives.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let name = text(properties.properties.device_name_as_c_str().ok());
        if name.contains("RADV") {
            return Ok((physical, text(driver.driver_info_as_c_str().ok())));
        }
        others.push(name);
    }
    Err(Reply::NoDriver(others))
}

fn text(from: Option<&CStr>) -> String {
    from.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// SPIR-V's number of the capability of cooperative matrices, and the instruction that declares a capability, which has
/// two words.
const MATRICES: [u32; 2] = [0x0002_0011, 6022];

struct NullDevice {
    device: ash::Device,
    /// Whether it compiles cooperative matrices.
    has_matrices: bool,
    executables: khr::pipeline_executable_properties::Device,
}

impl NullDevice {
    /// With the features that wgpu turns on for a compute shader, above all robust access to buffers: the driver's
    /// compiler merges fewer loads with it.
    fn open(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Result<Self, vk::Result> {
        let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut has = vk::PhysicalDeviceFeatures2::default().push_next(&mut robust);
        // SAFETY: the device is the instance's, and what is written to lives.
        unsafe { instance.get_physical_device_features2(physical, &mut has) };
        let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(has.features.robust_buffer_access != 0);
        let robust = robust.robust_buffer_access2 != 0;
        let mut robust2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
        let mut zeroes = vk::PhysicalDeviceZeroInitializeWorkgroupMemoryFeatures::default()
            .shader_zero_initialize_workgroup_memory(true);
        let mut tells =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        let mut extensions: Vec<*const c_char> = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let mut info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_features(&core)
            .push_next(&mut zeroes)
            .push_next(&mut tells);
        if robust {
            extensions.push(ext::robustness2::NAME.as_ptr());
            info = info.push_next(&mut robust2);
        }
        // SAFETY: the device is the instance's.
        let known = unsafe { instance.enumerate_device_extension_properties(physical) }?;
        let matrices = khr::cooperative_matrix::NAME;
        let has_matrices = known.iter().any(|known| known.extension_name_as_c_str() == Ok(matrices));
        let mut of_matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
        let mut model = vk::PhysicalDeviceVulkanMemoryModelFeatures::default()
            .vulkan_memory_model(true)
            .vulkan_memory_model_device_scope(true);
        let mut f16 = vk::PhysicalDeviceShaderFloat16Int8Features::default().shader_float16(true);
        if has_matrices {
            extensions.push(matrices.as_ptr());
            info = info.push_next(&mut of_matrices).push_next(&mut model).push_next(&mut f16);
        }
        let info = info.enabled_extension_names(&extensions);
        // SAFETY: everything that the information points to lives until the call is over.
        let device = unsafe { instance.create_device(physical, &info, None) }?;
        let executables = khr::pipeline_executable_properties::Device::new(instance, &device);
        Ok(NullDevice { device, has_matrices, executables })
    }

    fn compile(&self, unit: &Unit) -> Result<Compiled, String> {
        if !self.has_matrices && unit.spirv.windows(2).any(|words| words == MATRICES) {
            return Err("this GPU, or this version of its driver, has no cooperative matrices".to_owned());
        }
        self.made(unit).map_err(|error| error.to_string())
    }

    fn made(&self, unit: &Unit) -> Result<Compiled, vk::Result> {
        let Ok(entry) = CString::new(unit.entry.as_str()) else { return Err(vk::Result::ERROR_UNKNOWN) };
        let bindings: Vec<_> = unit.bindings.iter().map(layout_of).collect();
        let device = &self.device;
        // SAFETY: the SPIR-V is naga's, of a module that its validator passed, and its bindings are those that naga
        // found in it. All that is pointed to lives through its call; what is made is destroyed once, after its use.
        unsafe {
            let set = device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?;
            let layouts = [set];
            let layout =
                device.create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts), None)?;
            let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&unit.spirv), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            );
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let made = made.map_err(|(_, error)| error).and_then(|pipelines| {
                let Some(&pipeline) = pipelines.first() else { return Err(vk::Result::ERROR_UNKNOWN) };
                let told = self.ask(pipeline);
                device.destroy_pipeline(pipeline, None);
                told
            });
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            made
        }
    }

    /// What the driver tells of a compute pipeline of this device, which was made to tell it.
    fn ask(&self, pipeline: vk::Pipeline) -> Result<Compiled, vk::Result> {
        let of = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let of_pipeline = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline lives and tells; a compute pipeline has one executable, 0.
        let (properties, statistics, mut texts) = unsafe {
            (
                self.executables.get_pipeline_executable_properties(&of_pipeline)?,
                self.executables.get_pipeline_executable_statistics(&of)?,
                self.executables.get_pipeline_executable_internal_representations(&of)?,
            )
        };
        // The first call told how long each text is; a second writes them.
        let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
        for (text, bytes) in texts.iter_mut().zip(&mut bytes) {
            text.p_data = bytes.as_mut_ptr().cast();
        }
        let mut count = texts.len() as u32;
        // SAFETY: `count` elements, each with a buffer of the size that it says.
        unsafe {
            (self.executables.fp().get_pipeline_executable_internal_representations_khr)(
                self.executables.device(),
                &of,
                &mut count,
                texts.as_mut_ptr(),
            )
        }
        .result()?;
        let assembly = texts.iter().zip(&bytes).find(|(known, _)| text(known.name_as_c_str().ok()) == "Assembly");
        let whole = |value: &vk::PipelineExecutableStatisticKHR<'_>| match value.format {
            // SAFETY: the format says which field of the union was written.
            vk::PipelineExecutableStatisticFormatKHR::UINT64 => Some(unsafe { value.value.u64 }),
            _ => None,
        };
        Ok(Compiled {
            subgroup_size: properties.first().map_or(0, |properties| properties.subgroup_size),
            statistics: statistics
                .iter()
                .filter_map(|known| Some((text(known.name_as_c_str().ok()), whole(known)?)))
                .collect(),
            assembly: assembly.map_or_else(String::new, |(_, bytes)| {
                String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ', '\n']).to_owned() + "\n"
            }),
        })
    }
}

fn layout_of(&(number, uniform): &(u32, bool)) -> vk::DescriptorSetLayoutBinding<'static> {
    vk::DescriptorSetLayoutBinding::default()
        .binding(number)
        .descriptor_count(1)
        .stage_flags(vk::ShaderStageFlags::COMPUTE)
        .descriptor_type(match uniform {
            true => vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC,
            false => vk::DescriptorType::STORAGE_BUFFER,
        })
}
