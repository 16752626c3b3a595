"""Errors that take a machine, a fleet or much time to meet: code -> the test that meets each."""

from __future__ import annotations

from collections.abc import Mapping

ELSEWHERE: Mapping[str, str] = {
    "database_unavailable": "tests/jobs/test_migrations.py"
    "::test_a_database_that_nobody_answers_for_is_named_without_its_password",
    "disk_limit": "tests/sandbox/test_limits.py::test_a_huge_file_ends_at_its_limit",
    "isolation_unavailable": "tests/sandbox/test_opening.py::test_a_machine_without_bubblewrap_is_told_what_to_install",
    "job_crashed": "tests/sandbox/test_endings.py::test_a_crash_is_named",
    "not_installed": "tests/client/test_extras.py::test_pruning_here_says_what_to_install",
    "out_of_memory": "tests/sandbox/test_limits.py::test_a_hundred_gigabytes_are_refused",
    "output_not_written": "tests/cli/test_results.py::test_a_place_that_can_not_be_written_names_what_is_there",
    "reload_failed": "tests/formats/test_torch_results.py::test_a_result_that_differs_is_not_returned",
    "service_unavailable": "tests/client/test_download.py::test_bytes_that_are_not_the_files_are_not_kept",
    "storage_unavailable": "tests/jobs/test_attempt.py::test_a_job_that_fails_for_want_of_a_disk_says_so",
    "time_limit": "tests/sandbox/test_limits.py::test_an_endless_wait_ends_at_the_wall_clock_limit",
    "too_many_requests": "tests/http/test_rate.py"
    "::test_a_client_that_calls_too_often_is_told_when_to_come_back_and_that_is_true",
    "upload_stalled": "tests/http/test_limits.py"
    "::test_an_upload_that_stalls_or_takes_too_long_is_given_up_and_leaves_nothing",
    "verification_failed": "tests/engine/test_twins.py::test_another_path_through_the_code_is_no_twin",
    "worker_died": "tests/jobs/test_fleet_workers.py::test_a_job_that_kills_its_worker_three_times_fails_here_too",
}
