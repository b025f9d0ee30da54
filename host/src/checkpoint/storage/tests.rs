use super::{
    faults::{FaultyStore, Luck},
    *,
};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn an_object_is_created_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::folder(folder.path()).expect("it can be written");
    block_on(async {
        let first = storage.create("default/j/log/1", "a".into()).await;
        let second = storage.create("default/j/log/1", "b".into()).await;
        assert_eq!((first, second), (Created::Done, Created::Exists));
        let read = storage.get("default/j/log/1").await.expect("it is there");
        assert_eq!(read.as_deref(), Some(&b"a"[..]));
        let names = storage.list("default/j/").await.expect("a listing");
        assert_eq!(names, ["default/j/log/1"]);
        storage.delete("default/j/log/1").await.expect("it goes");
        storage.delete("default/j/log/1").await.expect("again");
        assert!(
            storage
                .get("default/j/log/1")
                .await
                .expect("a look")
                .is_none()
        );
    });
}

#[test]
fn a_job_runs_once_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Storage::folder(folder.path()).expect("it can be written");
    let path = folder.path();
    first.lock(path, ("j", false)).expect("nobody runs it");
    let mut second = Storage::folder(folder.path()).expect("it can be written");
    let refused = second.lock(path, ("j", false)).expect_err("it runs");
    assert!(matches!(refused, StorageError::Running { .. }), "{refused}");
    second.lock(path, ("j", true)).expect("it is taken over");
    let mut third = Storage::folder(folder.path()).expect("it can be written");
    let refused = third
        .lock(path, ("j", false))
        .expect_err("another one runs");
    assert!(matches!(refused, StorageError::Running { .. }), "{refused}");
    drop(first);
    third
        .lock(path, ("j", false))
        .expect_err("it is the second's");
    drop(second);
    third.lock(path, ("j", false)).expect("it is free again");
}

/// In parts, under bad luck: what is told to be stored is whole, and what is not is not there.
#[test]
fn a_large_object_comes_whole_or_not_at_all() {
    let luck = Luck {
        errors: 100,
        slow: 100,
        is_synced: true,
    };
    let store = Arc::new(FaultyStore::new(1, luck));
    let storage = Storage::faulty(&store);
    let large = Bytes::from(vec![7; PART_BYTES * 3 + 1]);
    let (mut stored, mut failed) = (0, 0);
    block_on(async {
        for number in 0..30 {
            let name = format!("large/{number}");
            let is_told = storage.put(&name, large.clone()).await.is_ok();
            let found = store.all().await.get(&Path::from(name)).cloned();
            match (is_told, found) {
                (true, found) => assert!(found.as_ref() == Some(&large)),
                (false, found) => assert!(found.is_none_or(|found| found == large)),
            }
            *if is_told { &mut stored } else { &mut failed } += 1;
        }
    });
    assert!(stored > 5 && failed > 5, "{stored} stored, {failed} failed");
    assert!(
        store
            .counts
            .partial
            .load(std::sync::atomic::Ordering::Relaxed)
            > 0
    );
}
