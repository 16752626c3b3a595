import "./theme.css";
import "./layout.css";
import "./controls.css";
import "./new/new.css";
import "./job/job.css";
import { render } from "preact";
import { App } from "./app";
import { setTheme } from "./theme-button";

setTheme();
const root = document.getElementById("app");
if (root) render(<App />, root);
