import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { QueryClientProvider } from "@tanstack/react-query";

import { BrowserErrors } from "./api/browserErrors";
import { Http } from "./api/http";
import { createQueryClient } from "./api/queries";
import { WebVitals } from "./api/webVitals";
import { App } from "./app";
import { loadConfig } from "./config";
import { SessionContext } from "./session/context";
import { createOidcClient, Session } from "./session/session";
import { ErrorBoundary } from "./ui/ErrorBoundary";
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
    const http = new Http(session);
    const errors = new BrowserErrors(http);
    errors.watch();
    new WebVitals(http).watch();
    root.render(
      <StrictMode>
        <ErrorBoundary onError={(error) => errors.report(error)}>
          <QueryClientProvider client={createQueryClient()}>
            <SessionContext value={session}>
              <App config={config} />
            </SessionContext>
          </QueryClientProvider>
        </ErrorBoundary>
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
