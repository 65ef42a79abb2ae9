"""A study from start to end: who trains what, when, and what happens when something breaks.

Contract. `worker.run_worker(home, study)` carries one study to its end in the
calling process; `executors` starts it in a process of its own or in a thread;
`follower` watches it from the notebook. They share nothing but the store and
`events.jsonl`, so any of them may die at any time.

Data flow. `worker` takes the lease, builds a `StudyContext` (store, spec,
events, control, prepared models and data) and gives it to `study_run`, which
asks `search` for configurations and has `pack` train several at once in
`training.Engine`, each a `trial_run`; those that the pruner sets aside wait in
`parked`. Outcomes go to the store. `confirm` then re-runs the winner and the
default configuration on fresh seeds and scores both on the test split.

Failure modes. A trial's own fault (diverged, out of memory three times, an
exception in a custom objective, or one that nobody foresaw and that it meets
alone) fails that trial and the study goes on; three unforeseen ones in a row
end the study, as does a GPU that answers no more. A full disk pauses the study
with a sentence. A killed worker leaves its runs marked as running; the next
worker adopts them by number and resumes each from its newest whole checkpoint
(`recovery`).
"""
