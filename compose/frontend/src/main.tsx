import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app";
import { loadConfig } from "./config";
import { SessionContext } from "./session/context";
import { createOidcClient, Session } from "./session/session";
import { ErrorNotice } from "./ui/ErrorNotice";
import "./styles/index.css";

const element = document.getElementById("root");
if (!element) throw new Error("index.html has no #root");
const root = createRoot(element);

async function start(): Promise<void> {
  try {
    const config = await loadConfig();
    document.title = config.productName;
    const session = new Session(createOidcClient(config));
    root.render(
      <StrictMode>
        <SessionContext value={session}>
          <App config={config} />
        </SessionContext>
      </StrictMode>,
    );
    await session.start();
  } catch (error) {
    root.render(
      <main className="welcome">
        <ErrorNotice error={error} onRetry={() => location.reload()} />
      </main>,
    );
  }
}

void start();
