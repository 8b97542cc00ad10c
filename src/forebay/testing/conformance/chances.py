"""What the state machine draws from: few workers, few keys and few lines, so that they meet."""

from hypothesis import strategies as st

from forebay.domain.job import Join, Status

WORKERS = st.sampled_from(["w1", "w2", "w3"])
KEYS = st.sampled_from(["", "", "a", "b", "c"])
LINES = st.lists(st.sampled_from(["0", "1", "2", "3", "4"]), unique=True, max_size=4)
MANY_LINES = st.lists(st.sampled_from(["0", "1", "2", "3", "4"]), unique=True, min_size=2)
JOINS = st.sampled_from([Join(), Join(successes=1), Join(successes=2), Join(live=1), Join(live=2)])
ENDS = st.sampled_from([Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
PLACES = st.integers(min_value=0, max_value=10**6)
LIFESPANS = st.sampled_from([50.5, 10.0**6])
LEAF_PLANS = st.lists(
    st.sampled_from(["drop", "call", "call", "succeed", "succeed", "fail", "forget", "again"]), min_size=1, max_size=4
)
