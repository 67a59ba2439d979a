package stytchmigrate

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// AuthenticationFactor is one way in which the user of a Session proved who they
// are. Type and DeliveryMethod say which; of the factors below, the one that they
// name is set, or none where Stytch has no details, as for type "imported", which
// is what a migrated session has.
type AuthenticationFactor struct {
	Type                string    `json:"type" required:"true"`
	DeliveryMethod      string    `json:"delivery_method" required:"true"`
	LastAuthenticatedAt time.Time `json:"last_authenticated_at,omitzero"`
	CreatedAt           time.Time `json:"created_at,omitzero"`
	UpdatedAt           time.Time `json:"updated_at,omitzero"`

	EmailFactor                    *EmailFactor                    `json:"email_factor,omitzero"`
	PhoneNumberFactor              *PhoneNumberFactor              `json:"phone_number_factor,omitzero"`
	GoogleOAuthFactor              *OAuthFactor                    `json:"google_oauth_factor,omitzero"`
	MicrosoftOAuthFactor           *OAuthFactor                    `json:"microsoft_oauth_factor,omitzero"`
	AppleOAuthFactor               *OAuthFactor                    `json:"apple_oauth_factor,omitzero"`
	WebAuthnFactor                 *WebAuthnFactor                 `json:"webauthn_factor,omitzero"`
	AuthenticatorAppFactor         *AuthenticatorAppFactor         `json:"authenticator_app_factor,omitzero"`
	GithubOAuthFactor              *OAuthFactor                    `json:"github_oauth_factor,omitzero"`
	RecoveryCodeFactor             *RecoveryCodeFactor             `json:"recovery_code_factor,omitzero"`
	FacebookOAuthFactor            *OAuthFactor                    `json:"facebook_oauth_factor,omitzero"`
	CryptoWalletFactor             *CryptoWalletFactor             `json:"crypto_wallet_factor,omitzero"`
	AmazonOAuthFactor              *OAuthFactor                    `json:"amazon_oauth_factor,omitzero"`
	BitbucketOAuthFactor           *OAuthFactor                    `json:"bitbucket_oauth_factor,omitzero"`
	CoinbaseOAuthFactor            *OAuthFactor                    `json:"coinbase_oauth_factor,omitzero"`
	DiscordOAuthFactor             *OAuthFactor                    `json:"discord_oauth_factor,omitzero"`
	FigmaOAuthFactor               *OAuthFactor                    `json:"figma_oauth_factor,omitzero"`
	GitLabOAuthFactor              *OAuthFactor                    `json:"git_lab_oauth_factor,omitzero"`
	InstagramOAuthFactor           *OAuthFactor                    `json:"instagram_oauth_factor,omitzero"`
	LinkedInOAuthFactor            *OAuthFactor                    `json:"linked_in_oauth_factor,omitzero"`
	ShopifyOAuthFactor             *OAuthFactor                    `json:"shopify_oauth_factor,omitzero"`
	SlackOAuthFactor               *OAuthFactor                    `json:"slack_oauth_factor,omitzero"`
	SnapchatOAuthFactor            *OAuthFactor                    `json:"snapchat_oauth_factor,omitzero"`
	SpotifyOAuthFactor             *OAuthFactor                    `json:"spotify_oauth_factor,omitzero"`
	SteamOAuthFactor               *OAuthFactor                    `json:"steam_oauth_factor,omitzero"`
	TikTokOAuthFactor              *OAuthFactor                    `json:"tik_tok_oauth_factor,omitzero"`
	TwitchOAuthFactor              *OAuthFactor                    `json:"twitch_oauth_factor,omitzero"`
	TwitterOAuthFactor             *OAuthFactor                    `json:"twitter_oauth_factor,omitzero"`
	EmbeddableMagicLinkFactor      *EmbeddableMagicLinkFactor      `json:"embeddable_magic_link_factor,omitzero"`
	BiometricFactor                *BiometricFactor                `json:"biometric_factor,omitzero"`
	SAMLSSOFactor                  *SSOFactor                      `json:"saml_sso_factor,omitzero"`
	OIDCSSOFactor                  *SSOFactor                      `json:"oidc_sso_factor,omitzero"`
	SalesforceOAuthFactor          *OAuthFactor                    `json:"salesforce_oauth_factor,omitzero"`
	YahooOAuthFactor               *OAuthFactor                    `json:"yahoo_oauth_factor,omitzero"`
	HubspotOAuthFactor             *OAuthFactor                    `json:"hubspot_oauth_factor,omitzero"`
	SlackOAuthExchangeFactor       *OAuthExchangeFactor            `json:"slack_oauth_exchange_factor,omitzero"`
	HubspotOAuthExchangeFactor     *OAuthExchangeFactor            `json:"hubspot_oauth_exchange_factor,omitzero"`
	GithubOAuthExchangeFactor      *OAuthExchangeFactor            `json:"github_oauth_exchange_factor,omitzero"`
	GoogleOAuthExchangeFactor      *OAuthExchangeFactor            `json:"google_oauth_exchange_factor,omitzero"`
	ImpersonatedFactor             *ImpersonatedFactor             `json:"impersonated_factor,omitzero"`
	OAuthAccessTokenExchangeFactor *OAuthAccessTokenExchangeFactor `json:"oauth_access_token_exchange_factor,omitzero"`
	TrustedAuthTokenFactor         *TrustedAuthTokenFactor         `json:"trusted_auth_token_factor,omitzero"`
}

// isImpersonation reports whether someone of the project's staff acts as the user.
func (f AuthenticationFactor) isImpersonation() bool {
	return f.Type == "impersonated" || f.DeliveryMethod == "impersonation" || f.ImpersonatedFactor != nil
}

// EmailFactor is a code or link sent to an email address.
type EmailFactor struct {
	EmailID      string `json:"email_id" required:"true"`
	EmailAddress string `json:"email_address" required:"true"`
}

// PhoneNumberFactor is a code sent to a telephone.
type PhoneNumberFactor struct {
	PhoneID     string `json:"phone_id" required:"true"`
	PhoneNumber string `json:"phone_number" required:"true"`
}

// OAuthFactor is an account elsewhere. EmailID may be empty.
type OAuthFactor struct {
	ID              string `json:"id" required:"true"`
	ProviderSubject string `json:"provider_subject" required:"true"`
	EmailID         string `json:"email_id"`
}

// OAuthExchangeFactor is an account elsewhere that another factor was exchanged
// for.
type OAuthExchangeFactor struct {
	EmailID string `json:"email_id" required:"true"`
}

// OAuthAccessTokenExchangeFactor is an access token of a connected app.
type OAuthAccessTokenExchangeFactor struct {
	ClientID string `json:"client_id" required:"true"`
}

// SSOFactor is an organization's identity provider, by SAML or OpenID Connect.
type SSOFactor struct {
	ID         string `json:"id" required:"true"`
	ProviderID string `json:"provider_id" required:"true"`
	ExternalID string `json:"external_id" required:"true"`
}

// WebAuthnFactor is a passkey or security key. UserAgent may be empty.
type WebAuthnFactor struct {
	WebAuthnRegistrationID string `json:"webauthn_registration_id" required:"true"`
	Domain                 string `json:"domain" required:"true"`
	UserAgent              string `json:"user_agent"`
}

// AuthenticatorAppFactor is a code of an authenticator app.
type AuthenticatorAppFactor struct {
	TOTPID string `json:"totp_id" required:"true"`
}

// RecoveryCodeFactor is a code used in place of an authenticator app's.
type RecoveryCodeFactor struct {
	TOTPRecoveryCodeID string `json:"totp_recovery_code_id" required:"true"`
}

// CryptoWalletFactor is a signature made with a wallet.
type CryptoWalletFactor struct {
	CryptoWalletID      string `json:"crypto_wallet_id" required:"true"`
	CryptoWalletAddress string `json:"crypto_wallet_address" required:"true"`
	CryptoWalletType    string `json:"crypto_wallet_type" required:"true"`
}

// EmbeddableMagicLinkFactor is a link that the application delivered itself.
type EmbeddableMagicLinkFactor struct {
	EmbeddedID string `json:"embedded_id" required:"true"`
}

// BiometricFactor is a fingerprint or face, as the user's device vouches for it.
type BiometricFactor struct {
	BiometricRegistrationID string `json:"biometric_registration_id" required:"true"`
}

// ImpersonatedFactor says that somebody of the project's staff acts as the user.
type ImpersonatedFactor struct {
	ImpersonatorID           string `json:"impersonator_id" required:"true"`
	ImpersonatorEmailAddress string `json:"impersonator_email_address" required:"true"`
}

// TrustedAuthTokenFactor is a token of an issuer that the project trusts.
type TrustedAuthTokenFactor struct {
	TokenID string `json:"token_id" required:"true"`
}

// Secret is a value that must not be seen in a log: a project secret, a token,
// the id of a legacy session. It prints, logs and encodes as [redacted], an empty
// one too, so that nobody learns from a log which settings are empty. Convert
// it to a string where the value itself is needed; decoding JSON into a Secret
// works as it does for a string. The zero value is empty.
//
// Package fmt calls no methods on what it finds in unexported fields, in a verb
// that it rejects (%p of a Secret, %w of a non-error; go vet reports both), and
// package encoding/json none on a map's keys. A Secret is no secret there.
type Secret string

const redacted = "[redacted]"

// Format writes [redacted] for every verb. String and GoString would leave %d
// and %x, which print a string's bytes.
func (Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, redacted) }

// LogValue is [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "[redacted]", so that a struct that holds a Secret can be
// logged as JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
