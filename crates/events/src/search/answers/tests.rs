use super::*;

#[test]
fn what_waits_is_bounded() {
    let mut searches = Searches::default();
    let key = |tgid| ProcessKey { tgid: tracetui_shared::id::Tgid(tgid), start: Default::default() };
    for id in 0..3 * limits::SEARCH_CALLS as u64 {
        let wanted = Wanted { whole: id, name: Some(id), ..Wanted::default() };
        let (failure, time) = (Failure::of(id, -2), BootNanos(id));
        let miss =
            Miss { failure, kind: Kind::Open, time, wanted, named: false, optional: false, after: 0, sources: 0 };
        searches.add(key(id as u32 % 1000), miss);
        assert_eq!(searches.all, searches.waiting.values().map(|waiting| waiting.misses.len()).sum::<usize>());
        assert!(searches.all <= limits::SEARCH_CALLS);
        assert!(searches.waiting.values().all(|waiting| waiting.misses.len() <= limits::SEARCH_OF_PROCESS));
    }
    (0..1000).for_each(|tgid| drop(searches.forget(key(tgid))));
    assert_eq!(searches.all, 0);
}
