// The beginning: mount the application and open the stream.
import { render } from "preact";
import { App } from "./app";
import { begin } from "./live";
import "./focus";
import "./prefs";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/now.css";
import "./styles/events.css";
import "./styles/pages.css";

render(<App />, document.getElementById("app")!);
void begin();
