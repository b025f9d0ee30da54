use super::{call::block_on, *};

mod hostile;
mod refusals;

/// A component that `cargo xtask plugins` has built.
fn component(name: &str) -> Vec<u8> {
    let path =
        std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
            .join("../target/plugins")
            .join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask plugins` first",
            path.display()
        )
    })
}

fn engine() -> Engine {
    Engine::new(EngineOptions::default()).expect("an engine")
}

#[test]
fn a_plugin_is_loaded_opened_and_called() {
    let plugin = engine().load(&component("count-by-key")).expect("loads");
    assert_eq!(plugin.world(), World::Batch);
    assert!(
        plugin.descriptor().contains("\"count-by-key\""),
        "{}",
        plugin.descriptor()
    );
    block_on(async {
        let mut instance = plugin
            .instantiate(&InstanceOptions::default())
            .await
            .expect("instantiates");
        instance
            .open(r#"{ "context": 1, "config": {} }"#)
            .await
            .expect("opens");
        let answer = instance
            .process(0, &[], &[], CallContext::default())
            .await
            .expect("processes nothing");
        assert_eq!(answer.log, []);
    });
}

#[test]
fn a_dropped_call_leaves_the_instance_spent() {
    let plugin = engine().load(&component("count-by-key")).expect("loads");
    block_on(async {
        let mut instance = plugin
            .instantiate(&InstanceOptions::default())
            .await
            .expect("instantiates");
        // Never polled: even so the call has begun as far as anybody can tell.
        drop(instance.open("{}"));
        assert!(
            instance.is_usable(),
            "a call that was never polled has not begun"
        );
        let error = instance.open("not json").await.expect_err("a bad context");
        assert!(matches!(error, CallError::Fault { .. }), "{error}");
    });
}

#[test]
fn compiled_code_is_kept_and_believed_only_if_it_is_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("code");
    let options = EngineOptions {
        cache: Some(cache.clone()),
        compiler: Compiler::InProcess,
    };
    let bytes = component("count-by-key");
    let load = || {
        Engine::new(options.clone())
            .and_then(|engine| engine.load(&bytes))
            .map(|plugin| plugin.digest().to_owned())
    };
    let digest = load().expect("compiles");
    let code = std::fs::read_dir(&cache)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|e| e == "code"))
        .expect("the code is kept");
    // With a compiler that always fails only the cache can answer.
    let no_compiler = EngineOptions {
        cache: Some(cache.clone()),
        compiler: Compiler::Child("/bin/false".into(), Vec::new()),
    };
    let cached = Engine::new(no_compiler.clone()).and_then(|engine| engine.load(&bytes));
    assert_eq!(cached.expect("cached").digest(), digest);
    let mut spoilt = std::fs::read(&code).expect("readable");
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    std::fs::write(&code, spoilt).expect("writable");
    let error = Engine::new(no_compiler)
        .and_then(|engine| engine.load(&bytes))
        .map(|_| ())
        .expect_err("one bit is wrong");
    assert!(
        error.to_string().contains("the compiler ended with"),
        "{error}"
    );
    assert_eq!(load().expect("compiles again"), digest);
}
