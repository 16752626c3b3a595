/** Two reports side by side: what was asked otherwise, what each costs, how good it is, where channels went; or two sweeps. */

import { useEffect, useState } from "preact/hooks";
import { account, jobs } from "../api";
import { Problem, type Trouble, trouble } from "../problem";
import { channelPairs, costLines, differences, left, matched, merits, written } from "../report/figures";
import { Pairs } from "../report/pairs";
import { jobAddress } from "../route";
import type { Listed, Report, Sweep } from "../types";
import { Curves } from "./curves";

interface Side<Account = Report | Sweep> {
  account: Account;
  job: Listed;
}

const swept = (side: Side): side is Side<Sweep> => side.job.call.endsWith("_sweep");
const cut = (side: Side): side is Side<Report> => !swept(side);

export function Compare({ a, b }: { a: string; b: string }) {
  const [sides, setSides] = useState<[Side, Side] | null>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  useEffect(() => {
    Promise.all([side(a), side(b)]).then(setSides, (error: unknown) => setFailed(trouble(error)));
  }, [a, b]);
  if (failed) return <Problem title="These jobs can't be compared" of={failed} />;
  if (!sides) return <p class="note">Reading both reports…</p>;
  const [one, other] = sides;
  if (swept(one) !== swept(other)) return <p>A sweep is compared with a sweep, and a single result with a single one.</p>;
  return (
    <>
      <div class="title">
        <h1>
          {fileOf(one)} and {fileOf(other)}
        </h1>
        <p class="lead">
          A is <a href={jobAddress(a)}>{asked(one)}</a>; B is <a href={jobAddress(b)}>{asked(other)}</a>.
        </p>
      </div>
      <Differences one={one} other={other} />
      {swept(one) && swept(other) && <Curves one={one.account} other={other.account} />}
      {cut(one) && cut(other) && <Reports one={one.account} other={other.account} />}
    </>
  );
}

function Reports({ one, other }: { one: Report; other: Report }) {
  return (
    <>
      <Costs one={one} other={other} />
      <Qualities one={one} other={other} />
      <section class="panel" aria-labelledby="both-channels">
        <h2 id="both-channels">Channels kept, layer by layer</h2>
        <Pairs
          name="Channels that A and B keep of each group"
          caption="Of each group of layers."
          names={["A", "B"]}
          apart
          rows={matched(channelPairs(one.groups), channelPairs(other.groups))}
        />
      </section>
    </>
  );
}

const fileOf = ({ job }: Side) => job.files.model ?? job.files.weights ?? job.call;
const asked = ({ job }: Side) =>
  [job.call, ...Object.entries(job.parameters).map(([name, value]) => `${name}=${value}`)].join(" ");

async function side(txid: string): Promise<Side> {
  const job = (await jobs({ txid })).jobs[0];
  if (!job) throw new Error(`There is no job ${txid}.`);
  return { account: await account<Report | Sweep>(txid, job.call.endsWith("_sweep") ? "curve" : "report"), job };
}

function Differences({ one, other }: { one: Side; other: Side }) {
  const found = differences(
    { call: one.job.call, ...one.job.parameters, ...one.job.files },
    { call: other.job.call, ...other.job.parameters, ...other.job.files },
  );
  return (
    <section class="panel" aria-labelledby="differences-title">
      <h2 id="differences-title">What was asked otherwise</h2>
      {found.length === 0 ? (
        <p>Nothing: both were asked the same.</p>
      ) : (
        <Rows caption="Parameters and files that differ" rows={found.map(([name, a, b]) => [name, a ?? "–", b ?? "–"])} />
      )}
    </section>
  );
}

function Costs({ one, other }: { one: Report; other: Report }) {
  const second = new Map(costLines(other.before, other.after).map((line) => [line.name, line]));
  const rows = costLines(one.before, one.after).flatMap((line) => {
    const beside = second.get(line.name);
    return beside
      ? [[line.name, `${line.written(line.after)} (${left(line)})`, `${beside.written(beside.after)} (${left(beside)})`] as const]
      : [];
  });
  return (
    <section class="panel" aria-labelledby="both-costs">
      <h2 id="both-costs">What they cost</h2>
      <Rows caption="Of each model given back, and the share of its original" rows={rows} number />
    </section>
  );
}

function Qualities({ one, other }: { one: Report; other: Report }) {
  const [first, second] = [one.quality, other.quality];
  if (!first || !second) return null;
  const rows = merits(first).map(
    (merit) => [merit, written(first.restored[merit], merit), written(second.restored[merit], merit)] as const,
  );
  return (
    <section class="panel" aria-labelledby="both-qualities">
      <h2 id="both-qualities">How good they are</h2>
      <Rows caption="Of each model given back, on samples that nothing was fitted to" rows={rows} number />
    </section>
  );
}

function Rows({ caption, rows, number = false }: { caption: string; rows: readonly (readonly [string, string, string])[]; number?: boolean }) {
  const kind = number ? "number" : "";
  return (
    <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">what</th>
            <th scope="col" class={kind}>A</th>
            <th scope="col" class={kind}>B</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, a, b]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class={kind}>{a}</td>
              <td class={kind}>{b}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
