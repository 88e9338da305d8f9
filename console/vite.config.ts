// The build: one script and one style sheet with hashed names, addressed from the page as console/assets/….
import preact from "@preact/preset-vite";
import { defineConfig, type Plugin } from "vite";

const SERVER = "http://127.0.0.1:9009";
const ROUTES = [
  "/overview", "/timeline", "/rules", "/ack", "/audit", "/events", "/remediations",
  "/mode", "/explain", "/silences", "/policy", "/healthz", "/readyz", "/metrics",
];

/** The page is /console, its files are /console/assets: relative to the page that is "console/assets/…". */
function besideThePage(): Plugin {
  return {
    name: "beside-the-page",
    apply: "build",
    transformIndexHtml: { order: "post", handler: (html) => html.replaceAll('"./assets/', '"console/assets/') },
  };
}

/** What an older build left goes when the new one is in its place: a server that runs meanwhile always has a whole one. */
function sweep(): Plugin {
  return {
    name: "sweep",
    apply: "build",
    async writeBundle({ dir }, bundle) {
      const names = (await this.fs.readdir(`${dir}/assets`)).map((name) => `assets/${name}`);
      await Promise.all(names.filter((name) => !(name in bundle)).map((name) => this.fs.unlink(`${dir}/${name}`)));
    },
  };
}

/** The licences of what is built in, beside it. */
function licences(names: string[]): Plugin {
  return {
    name: "licences",
    apply: "build",
    async generateBundle() {
      const read = async (name: string) => `${name}\n\n${await this.fs.readFile(`node_modules/${name}/LICENSE`, { encoding: "utf8" })}`;
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: (await Promise.all(names.map(read))).join("\n\n") });
    },
  };
}

export default defineConfig({
  base: "",
  plugins: [preact(), besideThePage(), licences(["preact", "uplot"]), sweep()],
  build: {
    outDir: "../src/autoheal/remediator/static/console",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
  },
  server: { proxy: Object.fromEntries(ROUTES.map((route) => [route, SERVER])) },
});
