import { render } from "preact";
import { takeToken } from "./api";
import { App } from "./app";
import "./style.css";

takeToken();
render(<App />, document.body);
