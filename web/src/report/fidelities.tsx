/** How good each of some models is: a row for each, a column for each figure. */

import type { Fidelity, Merit } from "../types";
import { written } from "./figures";

interface FidelitiesProps {
  caption: string;
  columns: readonly Merit[];
  of: readonly (readonly [string, Fidelity])[];
}

export function Fidelities({ caption, columns, of }: FidelitiesProps) {
  return (
    <table>
      <caption>{caption}</caption>
      <thead>
        <tr>
          <th scope="col">model</th>
          {columns.map((merit) => (
            <th scope="col" class="number" key={merit}>
              {merit}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {of.map(([name, fidelity]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {columns.map((merit) => (
              <td class="number" key={merit}>
                {written(fidelity[merit], merit)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
