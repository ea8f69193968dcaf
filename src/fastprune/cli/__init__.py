"""The command line: from options to a call of the library, from its report to an exit code.

One file per command (`list`, `du`, `plan`, `prune`, `apply`, `verify`, `explain`, `trash`, `tune`)
holds its options and what it does. Around them:

- `main`: the entry point. `app`: names and registers the commands, and turns errors into exit
  codes. `help_text`, `headings`: what `--help` looks like.
- `options`: the global options, and those that several commands have. `plan_options`: the options
  of selecting, planning and pruning. `check_options`: those of what `verify` checks.
  `option_values`: parses and checks their values.
- `session`: the global options, resolved; writes to stdout. `server_config`: the server's file.
  `server_options`: the running server that `--server` names, and what it lists.
  `tuned_defaults`: the file of `tune --save`. `state_folder`: where what was read is
  remembered. `user_folders`: where both lie. `cluster_options`: the Dask cluster that `--dask`
  names. `request`: the policy and plan options of them all.
- `plan_run`: what `prune` and `apply` share. `signals`: runs what deletes, until a signal comes.
  `cache_lock`: the lock, as commands take it.
- `messages`, `cache_warnings`, `refusals`: messages on stderr. `terminal`: its width, colours and
  answers. `progress_bar`: progress on stderr.
- `audit_log`, `metrics_file`, `html_page`: files that a command writes, too.

A value of an option that can't be used is a `UsageError`, wherever it is found out.
"""
