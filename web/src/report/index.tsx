/** What became of a job. */

import type { Report, Sweep } from "../types";

export function ReportView({ report }: { report: Report; txid: string }) {
  return <pre>{report.summary}</pre>;
}

export function SweepView({ sweep }: { sweep: Sweep; txid: string }) {
  return <pre>{sweep.summary}</pre>;
}
