// Write src/records.ts, the types of what the service answers, from the JSON schemas of docs/reference/.
import { readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const ACCOUNTS = { Report: "report", Sweep: "sweep", Inspection: "inspection" };

const definitions = {};
for (const [name, file] of Object.entries(ACCOUNTS)) {
  const { $defs, $schema: _dialect, ...schema } = JSON.parse(
    readFileSync(new URL(`../docs/reference/${file}.schema.json`, import.meta.url)),
  );
  Object.assign(definitions, $defs, { [name]: schema });
}
for (const definition of Object.values(definitions)) {
  named(definition.properties ?? {});
  // The service writes every attribute of a record, those that were not given, too.
  if (definition.properties) definition.required = Object.keys(definition.properties);
}
const all = {
  $defs: definitions,
  type: "object",
  additionalProperties: false,
  properties: Object.fromEntries(Object.keys(ACCOUNTS).map((name) => [name, { $ref: `#/$defs/${name}` }])),
};
const written = await compile(all, "Accounts", {
  bannerComment: "// Written by types.mjs from docs/reference/*.schema.json: not to be edited.",
  additionalProperties: false,
  maxItems: 0,
  style: { printWidth: 120 },
});
writeFileSync(new URL("src/records.ts", import.meta.url), written);

/** Each property with a title, and each reference with a description, would become a type of its own: Cost, Cost1. */
function named(node) {
  if (Array.isArray(node)) node.forEach(named);
  else if (node && typeof node === "object") {
    if (typeof node.title === "string") delete node.title;
    if ("$ref" in node) for (const key of Object.keys(node)) if (key !== "$ref") delete node[key];
    Object.values(node).forEach(named);
  }
}
